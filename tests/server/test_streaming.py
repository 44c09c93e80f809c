"""`respond`: who pulls when, what a client sees of a stream that cannot go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from hutch.server.answers import respond_failure
from hutch.server.streaming import Exchange, respond
from hutch.wire.errors import Failure
from tests.server.site import Application, Site, eventually, get, http_only, post


class Batches:
    """A source of the batches it is given; an exception among them is raised, an event waited for."""

    def __init__(self, *batches: bytes | Exception | trio.Event) -> None:
        self._batches = list(batches)
        self.pulls = 0
        self.stops = 0
        self.stopped = trio.Event()

    async def pull(self) -> bytes | None:
        await trio.lowlevel.checkpoint()
        while self._batches:
            one = self._batches.pop(0)
            if isinstance(one, trio.Event):
                try:
                    await one.wait()
                except trio.Cancelled:
                    self._batches.insert(0, one)
                    raise
                continue
            if isinstance(one, Exception):
                raise one
            self.pulls += 1
            return one
        return None

    def stop(self) -> None:
        self.stops += 1
        self.stopped.set()


def streaming(source: Batches, **options: Any) -> Application:
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            await respond(
                exchange,
                status=200,
                headers=[(b"content-type", b"application/x-ndjson")],
                source=source,
                **options,
            )
        except Failure as failure:
            await respond_failure(exchange, failure)

    return http_only(handler)


def _error_line(failure: Failure) -> bytes:
    return f"error {failure.code}\n".encode()


BROKEN = Failure("internal", "the disk went away")


async def test_batches_arrive_in_order_and_the_source_is_stopped(site: Site) -> None:
    source = Batches(b"one\n", b"two\n", b"x" * 500_000)
    server = await site.serve(streaming(source))
    wire = await server.connect()
    await wire.send(get("/"))
    answer = await wire.answer()
    assert answer.body == b"one\ntwo\n" + b"x" * 500_000
    assert answer.headers[b"content-type"] == b"application/x-ndjson"
    assert source.stops
    await wire.send(get("/"))  # the connection lives; the source is at its end
    assert (await wire.answer()).body == b""


async def test_the_first_batch_does_not_wait_for_the_second(site: Site) -> None:
    later = trio.Event()
    server = await site.serve(streaming(Batches(b"first\n", later, b"second\n")))
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.until(b"first\n\r\n")
    later.set()
    await wire.until(b"second\n\r\n0\r\n\r\n")


async def test_a_source_that_fails_at_once_is_a_proper_error_answer(site: Site) -> None:
    source = Batches(Failure("forbidden", "no entry"))
    server = await site.serve(streaming(source, error_line=_error_line))
    wire = await server.connect()
    await wire.send(get("/"))
    answer = await wire.answer()
    assert (answer.status, answer.failure["code"]) == (403, "forbidden")
    assert source.stops
    await wire.send(get("/alive"))
    assert (await wire.answer()).status == 200


@pytest.mark.parametrize("told", [True, False], ids=["error line", "silent"])
async def test_a_stream_that_cannot_be_completed_lacks_its_last_chunk(
    site: Site, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    source = Batches(b"one\n", BROKEN)
    options = {"error_line": _error_line} if told else {}
    server = await site.serve(streaming(source, **options))
    wire = await server.connect()
    await wire.send(get("/"))
    data = await wire.all()
    if told:
        assert data.endswith(b"\r\n\r\n4\r\none\n\r\nf\r\nerror internal\n\r\n")
    else:
        assert data.endswith(b"\r\n\r\n4\r\none\n\r\n")
    assert source.stops
    assert "Traceback" not in caplog.text


async def test_a_bug_in_a_source_cuts_the_stream_and_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    source = Batches(b"one\n", ValueError("a bug"))
    server = await site.serve(streaming(source, error_line=_error_line))
    wire = await server.connect()
    await wire.send(get("/"))
    assert (await wire.all()).endswith(b"4\r\none\n\r\n")
    await eventually(lambda: "a bug" in caplog.text, "no log line")
    assert source.stops


async def test_silence_is_broken_between_batches_and_before_the_first(site: Site) -> None:
    first, second = trio.Event(), trio.Event()
    source = Batches(first, b"batch\n", second, b"last\n")
    server = await site.serve(streaming(source, keepalive=b"alive\n", keepalive_after=0.05))
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.until(b"alive\n\r\n6\r\nalive\n\r\n")
    first.set()
    await wire.until(b"batch\n\r\n")
    await wire.until(b"alive\n\r\n")
    second.set()
    await wire.until(b"last\n\r\n0\r\n\r\n")


async def test_a_failure_after_a_sign_of_life_is_an_error_line(site: Site) -> None:
    first = trio.Event()
    source = Batches(first, BROKEN)
    server = await site.serve(
        streaming(source, keepalive=b"alive\n", keepalive_after=0.05, error_line=_error_line)
    )
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.until(b"alive\n")
    first.set()
    assert (await wire.all()).endswith(b"error internal\n\r\n")


async def test_a_sign_of_life_and_an_error_stay_out_of_a_line_that_is_half_sent(site: Site) -> None:
    rest = trio.Event()
    source = Batches(b'{"content":"half', rest, b' and half"}\n{"content":"half', BROKEN)
    server = await site.serve(
        streaming(source, keepalive=b"alive\n", keepalive_after=0.01, error_line=_error_line)
    )
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.until(b'"half\r\n')
    await trio.sleep(0.1)  # ten signs of life would fit
    rest.set()
    data = await wire.all()
    assert b"alive" not in data
    assert data.endswith(b'{"content":"half\r\n10\r\n\nerror internal\n\r\n')


LEAVING: dict[str, Callable[[trio.SocketStream], Any]] = {
    "closes": lambda stream: stream.aclose(),
    "half closes": lambda stream: stream.send_eof(),
}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_leaves_cancels_the_pull_and_stops_the_source(
    site: Site, leave: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = Batches(b"one\n", trio.Event())
    server = await site.serve(streaming(source))
    wire = await server.connect()
    await wire.send(get("/") if method == "GET" else post("/", b"abc"))
    await wire.until(b"one\n\r\n")
    await leave(wire.stream)
    with trio.fail_after(2):
        await source.stopped.wait()
    await server.lives()
    assert caplog.text == ""


async def test_a_client_that_leaves_before_the_first_batch_stops_the_source(site: Site) -> None:
    source = Batches(trio.Event())
    server = await site.serve(streaming(source))
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.stream.aclose()
    with trio.fail_after(2):
        await source.stopped.wait()


async def test_a_client_that_leaves_is_noticed_behind_a_pipeline_of_requests(site: Site) -> None:
    """Bytes that wait to be read hide the end of the connection from epoll."""
    source = Batches(b"one\n", trio.Event())
    server = await site.serve(streaming(source))
    wire = await server.connect()
    await wire.send(get("/") + get("/next") * 4000)
    await wire.until(b"one\n\r\n")
    await wire.stream.aclose()
    with trio.fail_after(4):
        await source.stopped.wait()


async def test_head_has_the_headers_only_and_pulls_no_more_than_it_needs(site: Site) -> None:
    """The first batch tells whether GET would fail."""
    source = Batches(b"one\n", b"two\n")
    server = await site.serve(streaming(source))
    wire = await server.connect()
    await wire.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get("/alive"))
    assert (await wire.answer(bodiless=True)).headers[b"content-type"] == b"application/x-ndjson"
    assert (await wire.answer()).body == b"hello"
    assert (source.pulls, source.stops) == (1, 1)


async def test_cancelling_a_stream_from_outside_cuts_it(site: Site) -> None:
    """As when the token is replaced: the failure cannot be told any more."""
    scope_of_it = trio.CancelScope()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send)
        with scope_of_it:
            await respond(exchange, status=200, headers=[], source=Batches(b"one\n", trio.Event()))
        await respond_failure(exchange, Failure("unauthorized", "the token was replaced"))

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.until(b"one\n\r\n")
    scope_of_it.cancel()
    await wire.closed()

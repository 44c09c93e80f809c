"""Request bodies: backpressure, deadlines, clients that leave, answers that come early."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from hutch.server.answers import respond_failure
from hutch.server.bodies import Body
from hutch.server.gone import ClientGone
from hutch.server.streaming import Exchange
from hutch.wire.config import Limits
from hutch.wire.errors import Failure
from tests.server.site import Application, Site, begun, get, http_only, post, reply

MIB = 1024 * 1024


class Uploads:
    """An application that pulls a body and remembers what became of it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.chunks: list[int] = []
        self.endings: list[str] = []
        self.ended = trio.Event()
        self.gate = trio.Event()
        self.gate.set()
        self.app: Application = http_only(self._take)

    async def _take(self, scope: Any, receive: Any, send: Any) -> None:
        body = Body(Exchange(scope, receive, send), self.limits)
        try:
            await self.gate.wait()
            while (chunk := await body.pull()) is not None:
                assert chunk
                self.chunks.append(len(chunk))
            assert await body.pull() is None
            self.endings.append("whole")
        except ClientGone:
            self.endings.append("gone")
            raise
        except Failure as failure:
            self.endings.append(failure.code)
            raise
        finally:
            self.ended.set()
        await reply(send, b"%d" % sum(self.chunks))


async def test_a_body_arrives_in_chunks_and_ends(site: Site) -> None:
    uploads = Uploads()
    server = await site.serve(uploads.app)
    answer = await server.ask(post("/", b"x" * 3 * MIB))
    assert answer.body == b"%d" % (3 * MIB)
    assert max(uploads.chunks) <= 256 * 1024


async def test_an_empty_body_is_none_at_once(site: Site) -> None:
    uploads = Uploads()
    server = await site.serve(uploads.app)
    assert (await server.ask(get("/"))).body == b"0"
    assert (await server.ask(post("/", b""))).body == b"0"


async def test_nothing_is_read_while_nobody_pulls(site: Site) -> None:
    """The client's sends block: real backpressure, not a buffer."""
    uploads = Uploads()
    uploads.gate = trio.Event()
    server = await site.serve(uploads.app)
    wire = await server.connect()
    size = 64 * MIB
    sent = 0

    async def upload() -> None:
        nonlocal sent
        await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await wire.send(b"x" * MIB)
            sent += MIB

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload)
        before = -1
        while sent != before:
            before = sent
            await trio.sleep(0.2)  # until the kernel's buffers are full, which nobody tells
        assert sent < size
        uploads.gate.set()
        assert (await wire.answer()).body == b"%d" % size


async def test_a_client_that_leaves_in_the_middle_aborts_the_upload(site: Site) -> None:
    uploads = Uploads()
    server = await site.serve(uploads.app)
    wire = await server.connect()
    await wire.send(begun("/", 1000))
    await wire.stream.aclose()
    with trio.fail_after(5):
        await uploads.ended.wait()
    assert uploads.endings == ["gone"]


async def test_a_chunked_body_that_is_cut_is_not_taken_for_whole(site: Site) -> None:
    uploads = Uploads()
    server = await site.serve(uploads.app)
    wire = await server.connect()
    await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await wire.stream.send_eof()
    assert await wire.all() == b""
    assert uploads.endings == ["gone"]


async def test_a_stalled_body_is_given_up_after_its_idle_deadline(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    uploads = Uploads(Limits(body_idle_seconds=0.1))
    server = await site.serve(uploads.app)
    wire = await server.connect()
    await wire.send(begun("/", 1000))
    answer = await wire.answer()
    assert answer.status == 408
    assert answer.failure["code"] == "timeout"
    await wire.closed()
    assert "Traceback" not in caplog.text


async def test_a_stalled_body_is_given_up_under_plain_asgi_too(site: Site) -> None:
    uploads = Uploads()
    server = await site.serve(uploads.app, body_idle_seconds=0.1)
    wire = await server.connect()
    await wire.send(begun("/", 1000))
    assert (await wire.answer()).status == 408
    await wire.closed()


async def test_a_slow_body_that_goes_on_has_no_total_deadline(site: Site) -> None:
    uploads = Uploads(Limits(body_idle_seconds=0.3))
    server = await site.serve(uploads.app, body_idle_seconds=0.3)
    wire = await server.connect()
    await wire.send(begun("/", 10, b""))
    for _ in range(10):
        await trio.sleep(0.06)
        await wire.send(b"x")
    assert (await wire.answer()).body == b"10"


@pytest.mark.parametrize("reads", [True, False], ids=["body wanted", "body refused"])
async def test_100_continue_is_sent_when_the_body_is_wanted(site: Site, reads: bool) -> None:
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if reads:
            await receive()
        await reply(send, status=200 if reads else 401)

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    )
    if reads:
        assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue\r\n")
        await wire.send(b"abc")
        assert (await wire.answer()).status == 200
        await wire.send(get("/"))
    else:
        assert (await wire.answer()).status == 401
        await wire.closed()


@http_only
async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    await respond_failure(Exchange(scope, receive, send), Failure("unauthorized", "no token"))


@pytest.mark.parametrize("size", [1000, 300_000, 3 * MIB], ids=["small", "large", "over the drain"])
async def test_an_early_answer_reaches_a_client_that_is_still_sending(
    site: Site, size: int
) -> None:
    server = await site.serve(_refuse, drain_seconds=2.0)
    wire = await server.connect()
    await wire.send(post("/", b"")[:-4].replace(b"Length: 0", b"Length: %d" % size) + b"\r\n\r\n")
    left = size
    answer = await wire.answer()  # before a byte of the body
    with trio.move_on_after(5):
        try:
            while left > 0:
                await wire.send(b"x" * min(left, 65536))
                left -= 65536
        except trio.BrokenResourceError:
            assert size > MIB
    assert answer.status == 401
    assert answer.failure["code"] == "unauthorized"
    assert (b"connection" in answer.headers) == (size > MIB)
    if size <= MIB:
        await wire.send(get("/again"))
        assert (await wire.answer()).status == 401


async def test_an_early_answer_is_read_after_sending_it_all(site: Site) -> None:
    """As simple clients do: first all of the body, then the answer."""
    server = await site.serve(_refuse, drain_seconds=2.0)
    wire = await server.connect()
    await wire.send(post("/", b"x" * 900_000))
    assert (await wire.answer()).status == 401


async def test_the_connection_of_a_refused_request_ends_in_fin_not_in_reset(site: Site) -> None:
    """A reset may cost the client the answer that it was sent."""
    server = await site.serve(_refuse, drain_seconds=2.0)
    wire = await server.connect()
    await wire.send(b"nonsense\r\n\r\n" + b"x" * 300_000)
    assert (await wire.answer()).status == 400
    assert await wire.stream.receive_some() == b""


async def test_a_client_that_stalls_after_an_early_answer_is_closed(site: Site) -> None:
    server = await site.serve(_refuse, drain_seconds=0.1)
    wire = await server.connect()
    await wire.send(begun("/", 1000))
    assert (await wire.answer()).status == 401
    await wire.closed()


async def test_the_next_request_is_not_read_from_an_unread_body(site: Site) -> None:
    server = await site.serve(_refuse)
    wire = await server.connect()
    await wire.send(post("/", get("/smuggled")) + get("/next"))
    assert (await wire.answer()).status == 401
    assert (await wire.answer()).status == 401
    await wire.send(get("/third", "Connection: close"))
    assert (await wire.answer()).status == 401
    await wire.closed()

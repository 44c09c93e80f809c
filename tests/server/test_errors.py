"""Bugs of an application and oddities of a client: what is answered, logged, and lives on."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from hutch.wire.errors import Failure
from tests.server.site import Site, eventually, get, hello, http_only, post, reply


class Panic(BaseException):
    """As a panic of the extension arrives: not an Exception."""


async def _boom(error: BaseException) -> None:
    raise error


async def _grouped(error: Exception) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_boom, error)


BUGS = {
    "exception": lambda: _boom(ValueError("s3cret")),
    "group": lambda: _grouped(ValueError("s3cret")),
    "panic": lambda: _boom(Panic("s3cret")),
    "exit": lambda: _boom(SystemExit("s3cret")),
    "os error": lambda: _boom(BrokenPipeError("s3cret")),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
async def test_a_bug_before_the_answer_is_a_500_and_its_log_line_has_the_id(
    site: Site, bug: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await bug()

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    for _ in range(2):  # the connection lives on
        await wire.send(get("/"))
        answer = await wire.answer()
        assert answer.status == 500
        assert answer.failure["code"] == "internal"
        assert b"s3cret" not in answer.body
        [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert record.exc_info is not None
        assert answer.failure["request_id"] in record.getMessage()
        caplog.clear()


async def test_a_bug_between_start_and_body_of_a_sized_answer_is_a_500(site: Site) -> None:
    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        raise ValueError

    server = await site.serve(http_only(handler))
    assert (await server.ask(get("/"))).status == 500


@pytest.mark.parametrize("fails", [True, False], ids=["raises", "returns"])
async def test_an_answer_cut_by_a_bug_lacks_its_last_chunk(
    site: Site, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        if fails:
            raise ValueError

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(get("/"))
    assert (await wire.all()).endswith(b"\r\n\r\n3\r\nabc\r\n")
    await eventually(lambda: "request_id" in caplog.text, "no log line")


async def test_an_answer_cut_in_http_1_0_is_reset(site: Site) -> None:
    """The end of the connection is the end of the body there: only a reset says 'broken'."""

    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise ValueError

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(trio.BrokenResourceError):
        while await wire.stream.receive_some():
            pass


async def test_an_application_that_answers_nothing_is_a_500(site: Site) -> None:
    async def handler(_scope: Any, _receive: Any, _send: Any) -> None:
        return

    server = await site.serve(http_only(handler))
    assert (await server.ask(get("/"))).failure["code"] == "internal"


async def test_a_failure_of_the_application_is_answered(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_scope: Any, _receive: Any, _send: Any) -> None:
        raise Failure("conflict", "it runs already", headers=((b"x-more", b"1"),))

    server = await site.serve(http_only(handler))
    answer = await server.ask(get("/"))
    assert (answer.status, answer.failure["error"]) == (409, "it runs already")
    assert answer.headers[b"x-more"] == b"1"
    assert "Traceback" not in caplog.text


async def test_a_bug_after_the_answer_is_logged_and_the_connection_lives(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await reply(send)
        raise ValueError

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    for _ in range(2):
        await wire.send(get("/"))
        assert (await wire.answer()).body == b"hello"
    assert "Traceback" in caplog.text


WRONG = {
    "a header with a line break": [(b"x-one", b"a\r\nx-two: b")],
    "a length that is no number": [(b"content-length", b"five")],
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
async def test_headers_that_would_split_the_answer_are_a_500(site: Site, headers: Any) -> None:
    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    server = await site.serve(http_only(handler))
    answer = await server.ask(get("/"))
    assert answer.status == 500
    assert b"x-two" not in answer.headers


@pytest.mark.parametrize("size", [3, 7])
async def test_a_body_of_another_length_than_announced_closes(site: Site, size: int) -> None:
    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size})

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.all()  # it ends, and no client takes it for complete
    await server.lives()


async def test_a_second_answer_cuts_the_first(site: Site) -> None:
    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await reply(send, status=401)

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(get("/"))
    assert (await wire.all()).endswith(b"3\r\nabc\r\n")


async def test_a_client_that_leaves_leaves_no_traceback(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    ended = trio.Event()

    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"a" * 65536, "more_body": True})
        finally:
            ended.set()

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.some()
    await wire.stream.aclose()
    with trio.fail_after(5):
        await ended.wait()
    await server.lives()
    assert "Traceback" not in caplog.text


async def test_a_send_cancelled_half_way_is_never_followed_by_another(site: Site) -> None:
    tried = trio.Event()

    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.move_on_after(0.1):
            await send({"type": "http.response.body", "body": b"a" * (20 << 20), "more_body": True})
        tried.set()
        await send({"type": "http.response.body", "body": b"LATER"})

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(get("/"))
    with trio.fail_after(5):
        await tried.wait()
    assert b"LATER" not in await wire.all()
    await server.lives()


async def test_one_bad_connection_among_good_ones(site: Site) -> None:
    server = await site.serve(hello)
    good = await server.connect()
    for bad in (b"\0\0\0\r\n\r\n", b"GET / HTTP/1.1\r\n", post("/", b"x" * 10)[:-5]):
        wire = await server.connect()
        await wire.send(bad)
        await wire.stream.aclose()
        await good.send(get("/"))
        assert (await good.answer()).body == b"hello"

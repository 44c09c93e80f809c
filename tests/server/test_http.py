"""What HTTP/1.1 promises to every client, over plain ASGI."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest
import trio

from tests.server.site import Site, echo, eventually, get, hello, http_only, post, reply


async def test_requests_follow_each_other_on_one_connection(site: Site) -> None:
    server = await site.serve(echo)
    wire = await server.connect()
    await wire.send(b"".join(post("/", b"%d" % one) for one in range(50)))
    for one in range(50):
        assert (await wire.answer()).body == b"%d" % one


async def test_every_answer_has_an_id_of_its_own_and_a_date_but_no_server(site: Site) -> None:
    server = await site.serve(hello)
    answers = [await server.ask(get("/", "X-Request-ID: mine")) for _ in range(3)]
    ids = {one.headers[b"x-request-id"] for one in answers}
    assert len(ids) == 3
    assert all(re.fullmatch(rb"[0-9a-f]{16}", one) for one in ids)
    for one in answers:
        assert one.headers[b"date"].endswith(b" GMT")
        assert b"server" not in one.headers


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_connection_close_closes(site: Site, version: str) -> None:
    server = await site.serve(hello)
    wire = await server.connect()
    await wire.send(f"GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert (await wire.answer()).headers[b"connection"] == b"close"
    await wire.closed()


async def test_head_has_the_headers_of_get_and_no_body(site: Site) -> None:
    server = await site.serve(hello)
    wire = await server.connect()
    await wire.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get("/"))
    answer = await wire.answer(bodiless=True)
    assert answer.headers[b"content-length"] == b"5"
    assert (await wire.answer()).body == b"hello"


@http_only
async def _no_content(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b"dropped"})


async def test_204_has_no_body(site: Site) -> None:
    server = await site.serve(_no_content)
    wire = await server.connect()
    await wire.send(get("/") + get("/"))
    for _ in range(2):
        answer = await wire.answer(bodiless=True)
        assert answer.status == 204
        assert b"transfer-encoding" not in answer.headers


def _log_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(one.message) for one in caplog.records if one.name == "hutch.access"]


@http_only
async def _routed(scope: Any, _receive: Any, send: Any) -> None:
    scope["state"]["route"] = "/files/{name}"
    await reply(send, b"12345", status=201)


async def test_the_access_log_has_one_line_a_request_and_no_secrets(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    server = await site.serve(_routed)
    with caplog.at_level(logging.INFO, logger="hutch.access"):
        answer = await server.ask(
            get('/files/%0a"x?token=s3cret', "Authorization: Bearer s3cret", "Referer: s3cret")
        )
        await eventually(lambda: len(_log_lines(caplog)) == 1, "no line")
    [line] = _log_lines(caplog)
    duration = line.pop("duration_ms")
    assert 0 <= duration < 10_000
    assert line == {
        "method": "GET",
        "path": '/files/%0a"x',
        "route": "/files/{name}",
        "status": 201,
        "bytes": 5,
        "request_id": answer.headers[b"x-request-id"].decode(),
    }
    assert "s3cret" not in caplog.text
    assert "\n" not in caplog.records[0].message


async def test_the_access_log_bounds_the_path(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    server = await site.serve(hello)
    with caplog.at_level(logging.INFO, logger="hutch.access"):
        await server.ask(get("/" + "a" * 20_000))
        await eventually(lambda: len(_log_lines(caplog)) == 1, "no line")
    assert len(caplog.records[0].message) < 1000


@http_only
async def _split(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"a" * 300_000, b"", memoryview(b"b"), bytearray(b"c")):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def test_a_chunked_answer_arrives_whole(site: Site) -> None:
    server = await site.serve(_split)
    answer = await server.ask(get("/"))
    assert answer.body == b"a" * 300_000 + b"bc"


async def test_http_1_0_gets_an_unframed_body_ended_by_the_close(site: Site) -> None:
    server = await site.serve(_split)
    wire = await server.connect()
    await wire.send(b"GET / HTTP/1.0\r\n\r\n")
    head, _, body = (await wire.all()).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"a" * 300_000 + b"bc"


class Endless:
    """An answer without end, of pieces that take longer to send than to read."""

    def __init__(self) -> None:
        self.pieces = 0
        self.app = http_only(self._send)

    async def _send(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            self.pieces += 1


# A process of its own: one in ours would share the lock of the interpreter, and be slow.
_SWALLOW = """
import socket, sys, time
deadline = time.monotonic() + 5
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
while time.monotonic() < deadline and client.recv(1 << 20):
    pass
"""


async def test_a_source_that_never_waits_does_not_keep_others_out(site: Site) -> None:
    """`send` checkpoints: a fast reader and an endless source would hold the loop for ever."""
    endless = Endless()
    server = await site.serve(endless.app)
    with subprocess.Popen([sys.executable, "-c", _SWALLOW, str(server.port)]) as reader:
        try:
            await eventually(lambda: endless.pieces > 100, "it did not start")
            for _ in range(5):
                await server.lives()
            assert reader.poll() is None
        finally:
            reader.kill()


async def test_a_flood_of_pipelined_requests_does_not_keep_others_out(site: Site) -> None:
    server = await site.serve(hello)
    flood = await server.connect()
    await flood.send(get("/") * 1000)
    assert (await server.ask(get("/"))).body == b"hello"
    for _ in range(1000):
        assert (await flood.answer()).body == b"hello"


@http_only
async def _until_disconnect(_scope: Any, receive: Any, send: Any) -> None:
    await reply(send)
    while (await receive())["type"] != "http.disconnect":
        pass


async def test_an_application_that_waits_for_the_disconnect_after_its_answer_is_told(
    site: Site,
) -> None:
    server = await site.serve(_until_disconnect, drain_seconds=0.05)
    wire = await server.connect()
    await wire.send(get("/") + get("/"))
    assert (await wire.answer()).body == b"hello"
    assert (await wire.answer()).body == b"hello"


@pytest.mark.parametrize("early", [True, False], ids=["early answer", "body read"])
async def test_the_disconnect_of_an_answered_request_is_withheld(site: Site, early: bool) -> None:
    """Quart cancels its handler on it, and with it whatever runs after the answer."""
    endings = []
    gone = trio.Event()
    ended = trio.Event()

    async def handler(_scope: Any, receive: Any, send: Any) -> None:
        read = trio.Event()

        async def read_until_disconnect(scope: trio.CancelScope) -> None:
            while (message := await receive())["type"] != "http.disconnect":
                if not message["more_body"]:
                    read.set()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_until_disconnect, nursery.cancel_scope)
            if not early:
                await read.wait()
            await reply(send)
            await gone.wait()
            await trio.sleep(0.05)
            endings.append("whole")
            nursery.cancel_scope.cancel()
        ended.set()

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(post("/", b"abc")[: -2 if early else None])
    await wire.answer()
    await wire.stream.aclose()
    gone.set()
    with trio.fail_after(5):
        await ended.wait()
    assert endings == ["whole"]

"""Workspaces that fail, and clients that attack: what is answered, and what is passed on."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from tests.gateway.gates import Gate, Gates, asking
from tests.server.site import PATIENCE, echo, eventually, hello, http_only

MIB = 2**20

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def raw(handler: Handler) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A workspace that is no server of ours: its port, and what each connection brought."""
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
            seen.append(data)
            with suppress(trio.BrokenResourceError):
                await handler(stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1], seen
        nursery.cancel_scope.cancel()


def saying(data: bytes) -> Handler:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.send_all(data)

    return handler


async def reset(stream: trio.SocketStream) -> None:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()


async def flood(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)


FAULTS: dict[str, Handler] = {
    "closes": saying(b""),
    "resets": reset,
    "garbage": saying(b"\0\1\2 hello\r\n\r\n"),
    "another version": saying(b"HTTP/2.0 200 OK\r\n\r\n"),
    "two lengths": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "flood of 1xx": flood,
    "head without an end": saying(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000),
    "a header of megabytes": saying(b"HTTP/1.1 200 OK\r\na: " + b"b" * 2 * MIB),
}


@pytest.mark.parametrize("handler", FAULTS.values(), ids=FAULTS)
async def test_a_workspace_that_answers_badly_is_502(gate: Gate, handler: Handler) -> None:
    async with raw(handler) as (port, _):
        workspace = gate.known(port)
        for method in ("GET", "POST"):
            wire = await gate.server.connect()
            await wire.send(gate.asking(workspace, "/", method=method))
            answer = await wire.answer()
            while answer.status < 200:
                answer = await wire.answer()
            assert (answer.status, answer.failure["code"]) == (502, "bad_gateway")
            assert answer.failure["may_have_arrived"] is True
            assert workspace.token.encode() not in answer.body


async def test_nobody_there_is_502_and_the_request_has_not_arrived(gate: Gate) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        workspace = gate.known(bound.getsockname()[1])
        answer = await gate.server.ask(gate.asking(workspace))
    assert (answer.status, answer.failure["may_have_arrived"]) == (502, False)


async def test_nobody_who_accepts_is_504_in_time(gates: Gates) -> None:
    gate = await gates.open(limits={"connect_seconds": 0.1})
    with socket.socket() as full, socket.socket() as waiting, socket.socket() as third:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for one in (waiting, third):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        workspace = gate.known(full.getsockname()[1])
        answer = await gate.server.ask(gate.asking(workspace))
    assert (answer.status, answer.failure["code"]) == (504, "timeout")
    assert answer.failure["may_have_arrived"] is False


async def test_one_that_never_answers_is_504(gates: Gates) -> None:
    gate = await gates.open(limits={"upstream_idle_seconds": 0.1})

    async def silent(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with raw(silent) as (port, _):
        answer = await gate.server.ask(gate.asking(gate.known(port)))
    assert (answer.status, answer.failure["may_have_arrived"]) == (504, True)


async def test_an_answer_that_breaks_off_is_cut_and_no_last_chunk_sent(gate: Gate) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with raw(saying(head + b"3\r\nabc\r\n")) as (port, _):
        wire = await gate.server.connect()
        await wire.send(gate.asking(gate.known(port)))
        rest = await wire.all()
    assert rest.endswith(b"abc\r\n")


async def test_a_redirect_is_passed_on_and_not_followed(gate: Gate) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/evil\r\nContent-Length: 0\r\n\r\n"
    async with raw(saying(head)) as (port, seen):
        answer = await gate.server.ask(gate.asking(gate.known(port)))
    assert (answer.status, answer.headers[b"location"]) == (302, b"http://127.0.0.1:1/evil")
    assert len(seen) == 1


ATTACKS: dict[str, tuple[str, ...]] = {
    "length and chunks": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "two lengths": ("Content-Length: 5", "Content-Length: 6"),
    "chunked twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "chunked in disguise": ("Transfer-Encoding: xchunked",),
    "folded": ("X-Odd: a\r\n b",),
    "two hosts": ("Host: other",),
    "a blank before the colon": ("X-Odd : a",),
    "a bare LF": ("X-Odd: a\nX-More: b",),
}


@pytest.mark.parametrize("headers", ATTACKS.values(), ids=ATTACKS)
async def test_what_two_servers_could_read_differently_is_never_passed_on(
    gate: Gate, headers: tuple[str, ...]
) -> None:
    async with raw(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (port, seen):
        workspace = gate.known(port)
        raw_request = gate.asking(workspace, "/", *headers, method="POST") + b"0\r\n\r\nhello"
        wire = await gate.server.connect()
        await wire.send(raw_request)
        answer = await wire.answer()
        assert answer.status in {400, 501}, answer
        assert seen == []


async def test_http2_is_not_spoken(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    wire = await gate.server.connect()
    await wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert (await wire.answer()).status == 400
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    answer = await gate.server.ask(gate.asking(workspace, "/", *upgrade))
    assert (answer.status, answer.body) == (200, b"hello")


async def test_an_absolute_target_leads_nowhere_else(gate: Gate) -> None:
    async with raw(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (port, seen):
        workspace = gate.known(port)
        for target in ("http://gate.test/files", "http://127.0.0.1:1/evil", "//127.0.0.1:1/evil"):
            wire = await gate.server.connect()
            await wire.send(gate.asking(workspace, target))
            await wire.answer()
        assert all(b"evil" not in one or one.startswith(b"GET //127.0.0.1:1/evil ") for one in seen)


async def test_a_slow_head_is_given_up(gates: Gates) -> None:
    gate = await gates.open(limits={"header_seconds": 0.1})
    wire = await gate.server.connect()
    await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    assert (await wire.answer()).status == 408
    await wire.closed()


async def test_a_client_that_leaves_frees_the_workspace_at_once(gate: Gate) -> None:
    gone = trio.Event()

    @http_only
    async def waiting(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    workspace = await gate.workspace(waiting)
    wire = await gate.server.connect()
    await wire.send(gate.asking(workspace))
    await eventually(lambda: gate.gateway.registry.live() != (), "it does not arrive")
    await wire.stream.aclose()
    with trio.fail_after(PATIENCE):
        await gone.wait()


async def test_lines_arrive_while_they_are_made(gate: Gate) -> None:
    """Nothing is gathered: each line is there before the next one is written."""
    next_one = trio.Event()

    @http_only
    async def lines(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal next_one
        headers = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(5):
            line = b'{"n":%d}\n' % number
            await send({"type": "http.response.body", "body": line, "more_body": True})
            await next_one.wait()
            next_one = trio.Event()
        await send({"type": "http.response.body", "body": b""})

    workspace = await gate.workspace(lines)
    wire = await gate.server.connect()
    await wire.send(gate.asking(workspace))
    for number in range(5):
        await wire.until(b'{"n":%d}\n' % number)
        next_one.set()
    await wire.until(b"0\r\n\r\n")


async def test_bodies_of_megabytes_pass_both_ways(gate: Gate) -> None:
    workspace = await gate.workspace(echo)
    body = bytes(range(256)) * (4 * MIB // 256)
    wire = await gate.server.connect()
    asked = gate.asking(workspace, "/", f"Content-Length: {len(body)}", method="PUT")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, asked + body)
        assert (await wire.answer()).body == body


async def test_a_reader_that_stalls_slows_its_own_workspace_alone(gate: Gate) -> None:
    sent = 0

    @http_only
    async def endless(scope: Any, _receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["path"] == "/":
            await hello(scope, _receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 65536

    workspace = await gate.workspace(endless)
    wire = await gate.server.connect(receive_buffer=4096)
    await wire.send(gate.asking(workspace, "/endless"))
    await wire.some()
    before = -1
    while before != sent:
        before = sent
        assert await gate.status(gate.asking(workspace)) == 200
        await trio.sleep(0.05)  # the kernels' buffers fill
    assert sent < 64 * MIB


async def test_every_answer_has_one_request_id_and_the_workspaces_is_it(gate: Gate) -> None:
    head = b"HTTP/1.1 404 Not Found\r\nX-Request-ID: 0123456789abcdef\r\nContent-Length: 0\r\n\r\n"
    async with raw(saying(head)) as (port, _):
        wire = await gate.server.connect()
        await wire.send(gate.asking(gate.known(port)))
        answer = (await wire.until(b"\r\n\r\n")).lower()
    assert answer.count(b"x-request-id:") == 1
    assert b"x-request-id: 0123456789abcdef" in answer


async def test_nothing_but_the_record_is_dialled(gate: Gate) -> None:
    async with raw(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (port, seen):
        workspace = await gate.workspace(hello)
        target = f"http://127.0.0.1:{port}/"
        for headers in (
            (f"X-Forwarded-Host: 127.0.0.1:{port}",),
            (f"X-Oblien-Proxy-Target: 127.0.0.1:{port}",),
            (f"Forwarded: host=127.0.0.1:{port}",),
        ):
            assert await gate.status(gate.asking(workspace, "/", *headers)) == 200
        await gate.server.ask(gate.asking(workspace, f"/proxy/{port}/?x_oblien_target={target}"))
        assert await gate.status(asking(gate.plane.token(workspace, port=port))) == 401
        assert seen == []

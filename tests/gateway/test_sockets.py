"""WebSockets through the gateway: tokens in the query, origins, messages, the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from tests.gateway.gates import Gate, Gates, handshake
from tests.server.site import Wire, eventually, http_only
from tests.serving import Target

MIB = 2**20


@http_only
async def telling(scope: Any, receive: Any, send: Any) -> None:
    """First tells what arrived, then echoes."""
    await receive()
    query = scope["query_string"]
    told = {
        "target": (scope["raw_path"] + (b"?" + query if query else b"")).decode(),
        "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
    }
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(told)})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})
    await send({"type": "websocket.close", "code": 1000})


async def _frame(wire: Wire) -> tuple[int, bytes]:
    """A frame without a mask: its first byte, its payload."""
    first, size = await wire.exactly(2)
    if size == 126:
        size = int.from_bytes(await wire.exactly(2), "big")
    elif size == 127:
        size = int.from_bytes(await wire.exactly(8), "big")
    return first, await wire.exactly(size)


async def _open(gate: Gate, path: str, *headers: str) -> tuple[Wire, dict[str, Any]]:
    wire = await gate.server.connect()
    await wire.send(handshake(path, *headers))
    head = await wire.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    _, text = await _frame(wire)
    return wire, json.loads(text)


# Where the token stands in the target, and what arrives: "{}" is the token.
SPELLINGS: dict[str, tuple[str, str]] = {
    "alone": ("/ws?token={}", "/ws"),
    "encoded name": ("/ws?%74oken={}", "/ws"),
    "doubled": ("/ws?token={}&token={}", "/ws"),
    "beside others": ("/ws?a=1&token={}&b=%20&&c", "/ws?a=1&b=%20&&c"),
    "below": ("/ws/1?token={}", "/ws/1"),
    "a target's": ("/runtimes/local/ws?token={}", "/runtimes/local/ws"),
    "proxy": ("/proxy/3000/x?b=2&token={}&a=1", "/proxy/3000/x?b=2&a=1"),
    "an application's own, too": ("/proxy/3000/?token=mine&token={}", "/proxy/3000/?token=mine"),
}


@pytest.mark.parametrize(("target", "arrives"), SPELLINGS.values(), ids=SPELLINGS)
async def test_a_token_in_the_query_counts_and_does_not_arrive(
    gate: Gate, target: str, arrives: str
) -> None:
    workspace = await gate.workspace(telling)
    token = gate.plane.token(workspace)
    _, told = await _open(gate, target.replace("{}", token))
    assert told["target"] == arrives
    assert ["authorization", f"Bearer {workspace.token}"] in told["headers"]
    assert token not in json.dumps(told)


async def test_a_token_whose_letters_are_encoded_is_found_too(gate: Gate) -> None:
    workspace = await gate.workspace(telling)
    token = gate.plane.token(workspace)
    encoded = "".join(f"%{ord(one):02x}" for one in token)
    _, told = await _open(gate, f"/ws?x=1&to%6Ben={encoded}")
    assert told["target"] == "/ws?x=1"


async def test_among_ten_thousand_others_it_is_found(gate: Gate) -> None:
    workspace = await gate.workspace(telling)
    token = gate.plane.token(workspace)
    many = "&".join(f"a{number}=1" for number in range(10_000))
    _, told = await _open(gate, f"/ws?{many}&token={token}&{many}")
    assert told["target"] == f"/ws?{many}&{many}"


async def test_beside_a_header_no_token_of_ours_arrives_and_an_applications_does(
    gate: Gate,
) -> None:
    workspace = await gate.workspace(telling)
    token = gate.plane.token(workspace)
    old = gate.plane.token(workspace, iat=1, nbf=1, exp=2)
    target = f"/proxy/3000/?token={old}&token=mine&token={token}&jwt=a.b.c"
    _, told = await _open(gate, target, f"Authorization: Bearer {token}")
    assert told["target"] == "/proxy/3000/?token=mine&jwt=a.b.c"


@pytest.mark.parametrize("path", ["/files", "/", "/wsx", "/files/ws", "/proxyx"])
async def test_elsewhere_a_token_in_the_query_counts_for_nothing(gate: Gate, path: str) -> None:
    workspace = await gate.workspace(telling)
    token = gate.plane.token(workspace)
    assert await gate.status(handshake(f"{path}?token={token}")) == 401


async def test_messages_pass_whatever_their_size_and_fragments(gate: Gate) -> None:
    @http_only
    async def mirror(scope: Any, _receive: Any, _send: Any) -> None:
        tunnel = scope["extensions"]["hutch.tunnel"]
        await tunnel.take()
        headers = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        await tunnel.switch(headers, reason=b"Switching Protocols")
        while data := await tunnel.receive():
            await tunnel.send([data])

    workspace = await gate.workspace(mirror)
    wire = await gate.server.connect()
    await wire.send(handshake("/ws", f"Authorization: Bearer {gate.plane.token(workspace)}"))
    await wire.until(b"\r\n\r\n")
    # Eight megabytes in one message: more than our own servers would take.
    whole = b"\x82\xff" + (8 * MIB).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * (8 * MIB)
    pieces = b"\x01\x81\0\0\0\0a" + b"\x89\x80\0\0\0\0" + b"\x80\x81\0\0\0\0b"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, whole + pieces)
        assert await wire.exactly(len(whole + pieces)) == whole + pieces


async def test_a_close_passes_both_ways(gate: Gate) -> None:
    workspace = await gate.workspace(telling)
    wire, _ = await _open(gate, f"/ws?token={gate.plane.token(workspace)}")
    await wire.send(b"\x88\x82\0\0\0\0" + (1001).to_bytes(2, "big"))
    first, payload = await _frame(wire)
    assert (first, int.from_bytes(payload[:2], "big")) == (0x88, 1001)
    await wire.closed()
    await eventually(lambda: gate.gateway.registry.live() == (), "it is still held")


async def test_only_applications_see_an_origin_and_only_that_of_this_host(gate: Gate) -> None:
    workspace = await gate.workspace(telling)
    token = gate.plane.token(workspace)
    for path, origin, arrives in (
        ("/ws", "https://gate.test", False),
        ("/ws/1", "https://page.example", False),
        ("/proxy/3000/", "https://page.example", False),
        ("/proxy/3000/", "https://gate.test", True),
        ("/runtimes/local/proxy/3000/", "http://GATE.test", True),
    ):
        _, told = await _open(gate, f"{path}?token={token}", f"Origin: {origin}")
        assert (["origin", origin] in told["headers"]) is arrives, (path, origin)


async def test_an_applications_own_credentials_pass_beside_a_token_in_the_query(gate: Gate) -> None:
    workspace = await gate.workspace(telling)
    token = gate.plane.token(workspace)
    for own in ("Basic dTpw", "Bearer theirs", "Digest x"):
        target = f"/proxy/3000/?a=1&token={token}&token=mine"
        _, told = await _open(gate, target, f"Authorization: {own}")
        assert ["authorization", own] in told["headers"]
        # In the place of ours, for the workspace's server, which takes it out.
        assert told["target"] == f"/proxy/3000/?a=1&token=mine&token={workspace.token}"
    bad = handshake(f"/ws?token={token}", "Authorization: Bearer theirs")
    assert await gate.status(bad) == 401


async def test_a_page_of_elsewhere_opens_sockets_of_a_real_server(
    gate: Gate, target: Target
) -> None:
    workspace = gate.known(target.port, token=target.token)
    for origin in ("https://page.example", "https://gate.test"):
        wire = await gate.server.connect()
        path = f"/ws?token={gate.plane.token(workspace)}"
        await wire.send(handshake(path, f"Origin: {origin}"))
        assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert json.loads((await _frame(wire))[1])["type"] == "hello"
        await wire.stream.aclose()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, _greeting, listeners)
        port = listeners[0].socket.getsockname()[1]
        wire = await gate.server.connect()
        path = f"/proxy/{port}/?token={gate.plane.token(workspace)}&token=mine"
        await wire.send(
            handshake(path, "Origin: https://page.example", "Authorization: Basic eA==")
        )
        head = await wire.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 418"), head
        assert b"x-seen: GET /?token=mine HTTP/1.1|Basic eA==" in head
        nursery.cancel_scope.cancel()


async def _greeting(stream: trio.SocketStream) -> None:
    """An application that refuses, and says what it saw."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive_some()
    lines = head.split(b"\r\n")
    own = [one.partition(b": ")[2] for one in lines if one.lower().startswith(b"authorization:")]
    seen = lines[0] + b"|" + b",".join(own)
    await stream.send_all(b"HTTP/1.1 418 No\r\nx-seen: " + seen + b"\r\nContent-Length: 0\r\n\r\n")


async def test_only_pages_on_the_gateways_list_may_open_a_socket(gates: Gates) -> None:
    gate = await gates.open(allow_origins=("https://good.example",))
    workspace = await gate.workspace(telling)
    path = f"/ws?token={gate.plane.token(workspace)}"
    for origin in ("https://good.example", "http://gate.test"):
        await _open(gate, path, f"Origin: {origin}")
    for origin in ("https://evil.example", "null", "https://good.example.evil"):
        assert await gate.status(handshake(path, f"Origin: {origin}")) == 403
    bad = handshake("/ws?token=nonsense", "Origin: https://evil.example")
    assert await gate.status(bad) == 401


async def test_a_workspace_that_refuses_a_socket_is_heard(gate: Gate) -> None:
    @http_only
    async def refusing(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-length", b"4"), (b"x-why", b"busy")]
        await send({"type": "websocket.http.response.start", "status": 409, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"busy"})

    workspace = await gate.workspace(refusing)
    answer = await gate.server.ask(handshake(f"/ws?token={gate.plane.token(workspace)}"))
    assert (answer.status, answer.body, answer.headers[b"x-why"]) == (409, b"busy", b"busy")


async def test_at_the_gateways_end_sockets_are_told(gate: Gate) -> None:
    workspace = await gate.workspace(telling)
    wire, _ = await _open(gate, f"/ws?token={gate.plane.token(workspace)}")
    gate.server.shutdown.set()
    first, payload = await _frame(wire)
    assert (first, int.from_bytes(payload[:2], "big")) == (0x88, 1012)
    await wire.all()

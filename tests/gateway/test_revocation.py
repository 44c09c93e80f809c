"""What was revoked is refused within a second, and what it had opened ends within five.

Source: wire contract, section 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.gateway.gates import Gate, asking, handshake, until
from tests.gateway.plane import Plane, Workspace
from tests.server.site import Wire, eventually, http_only, reply

Change = Callable[[Plane, Workspace], None]

# How it is revoked, and what a new request with the same token is answered.
REVOKED: dict[str, tuple[Change, int]] = {
    "deleted": (lambda plane, ws: plane.delete(ws), 401),
    "rotated": (lambda plane, ws: plane.change(ws, generation=2, token="another"), 401),
    "disabled": (lambda plane, ws: plane.change(ws, generation=2, enabled=False), 401),
    "no public access": (lambda plane, ws: plane.change(ws, public_access=False), 403),
    "not enabled": (lambda plane, ws: plane.change(ws, enabled=False), 502),
    "stopped": (lambda plane, ws: plane.change(ws, running=False), 502),
    "without an address": (lambda plane, ws: plane.change(ws, address=None, running=False), 502),
}


@http_only
async def endless(scope: Any, receive: Any, send: Any) -> None:
    """Streams for ever; below /silent sends nothing after its head; else says hello."""
    if scope["path"] == "/":
        await reply(send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


@http_only
async def sockets(scope: Any, receive: Any, send: Any) -> None:
    """Echoes, and begins with a greeting."""
    if scope["type"] == "http":
        await reply(send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "welcome"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@pytest.mark.parametrize(("change", "status"), REVOKED.values(), ids=REVOKED)
async def test_it_is_refused_and_its_streams_are_cut(
    gate: Gate, change: Change, status: int
) -> None:
    workspace = await gate.workspace(endless)
    token = gate.plane.token(workspace)
    stream = await gate.server.connect()
    await stream.send(asking(token, "/stream"))
    await stream.until(b"begun")
    assert (await gate.server.ask(asking(token))).status == 200
    change(gate.plane, workspace)

    async def is_refused() -> bool:
        return await gate.status(asking(token)) != 200

    await until(is_refused, seconds=1.0)
    answer = await gate.server.ask(asking(token))
    assert (answer.status, answer.failure["success"]) == (status, False)
    with trio.fail_after(5.0):
        rest = await stream.all()
    assert not rest.endswith(b"0\r\n\r\n"), "the stream looks complete"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (REVOKED["rotated"][0], 1008),
        (REVOKED["deleted"][0], 1008),
        (REVOKED["no public access"][0], 1008),
        (REVOKED["stopped"][0], 1012),
    ],
    ids=["rotated", "deleted", "no public access", "stopped"],
)
async def test_its_sockets_are_told_why(gate: Gate, change: Change, code: int) -> None:
    workspace = await gate.workspace(sockets)
    wire = await _socket(gate, workspace)
    assert await wire.exactly(2 + len(b"welcome")) == b"\x81\x07welcome"
    change(gate.plane, workspace)
    with trio.fail_after(5.0):
        frame = await wire.all()
    assert frame[0] == 0x88
    assert int.from_bytes(frame[2:4], "big") == code
    assert 2 + frame[1] == len(frame)


async def test_a_socket_in_the_middle_of_a_message_is_cut(gate: Gate) -> None:
    """No close frame fits into another one."""

    @http_only
    async def stuck(scope: Any, receive: Any, _send: Any) -> None:
        taken = scope["extensions"]["hutch.tunnel"]
        await taken.take()
        headers = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        await taken.switch(headers, reason=b"")
        await taken.send([b"\x82\x7e\xff\xff" + b"x" * 100])  # of 65,535 bytes
        await trio.sleep_forever()

    workspace = await gate.workspace(stuck)
    wire = await _socket(gate, workspace)
    await wire.until(b"x" * 100)
    gate.plane.change(workspace, generation=2)
    with trio.fail_after(5.0):
        assert await wire.all() == b""


async def test_a_client_that_takes_nothing_is_cut_too(gate: Gate) -> None:
    @http_only
    async def flood(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 100_000})

    workspace = await gate.workspace(flood)
    wire = await _socket(gate, workspace, receive_buffer=4096)
    await wire.some()
    gate.plane.change(workspace, generation=2)
    await eventually(lambda: not gate.gateway.registry.live(), "it lives on")


async def test_an_upload_under_way_is_cut(gate: Gate) -> None:
    @http_only
    async def taking(_scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        await reply(send)

    workspace = await gate.workspace(taking)
    wire = await gate.server.connect()
    asked = gate.asking(workspace, "/", "Content-Length: 100", method="PUT")
    await wire.send(asked + b"half")
    await eventually(lambda: gate.gateway.registry.live() != (), "it does not arrive")
    gate.plane.change(workspace, generation=2)
    with trio.fail_after(5.0):
        answer = await wire.answer()
    assert answer.status == 401


async def test_others_notice_nothing(gate: Gate) -> None:
    mine = await gate.workspace(sockets, "mine")
    other = await gate.workspace(sockets, "other")
    kept, ended = await _socket(gate, other), await _socket(gate, mine)
    for one in (kept, ended):
        await one.exactly(9)
    gate.plane.change(mine, generation=2)
    await ended.all()
    await kept.send(b"\x81\x82\0\0\0\0hi")
    assert await kept.exactly(4) == b"\x81\x02hi"


async def test_a_change_that_revokes_nothing_ends_nothing(gate: Gate) -> None:
    workspace = await gate.workspace(sockets)
    wire = await _socket(gate, workspace)
    await wire.exactly(9)
    for _ in range(3):
        gate.plane.change(workspace, public_access=True)
        await gate.settled()
    await wire.send(b"\x81\x82\0\0\0\0hi")
    assert await wire.exactly(4) == b"\x81\x02hi"


async def test_who_was_just_told_of_a_change_is_right(gate: Gate) -> None:
    """The answer of the control plane may be quicker than its feed."""
    workspace = await gate.workspace(endless)
    assert (await gate.server.ask(gate.asking(workspace))).status == 200
    gate.plane.is_mute = True
    gate.plane.change(workspace, generation=2)
    assert (await gate.server.ask(gate.asking(workspace))).status == 200
    gate.plane.change(workspace, public_access=False)
    gate.plane.is_mute = False
    await gate.settled()
    assert await gate.status(gate.asking(workspace)) == 403
    gate.plane.is_mute = True
    gate.plane.change(workspace, public_access=True)
    assert (await gate.server.ask(gate.asking(workspace))).status == 200


async def test_a_look_up_that_a_change_overtakes_is_made_again(gate: Gate) -> None:
    workspace = await gate.workspace(endless)
    token = gate.plane.token(workspace)
    gate.plane.slow = 0.3
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await gate.server.ask(asking(token))).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await eventually(lambda: any("/routes/" in one for one in gate.plane.asked), "not asked")
        await trio.sleep(0.05)  # the record was read, and is on its slow way
        gate.plane.change(workspace, generation=2)
    assert statuses == [401]


async def test_a_stale_feed_means_that_everything_is_looked_up_anew(gate: Gate) -> None:
    workspace = await gate.workspace(sockets)
    wire = await _socket(gate, workspace)
    await wire.exactly(9)
    gate.plane.is_mute = True
    gate.plane.change(workspace, generation=2)
    gate.plane.forget()
    with trio.fail_after(5.0):
        assert (await wire.all())[:1] == b"\x88"


async def test_a_workspace_whose_server_does_not_take_the_raw_token(gate: Gate) -> None:
    asked = 0

    @http_only
    async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        challenge = (b"www-authenticate", b'Bearer realm="hutch"')
        headers = [(b"content-length", b"0"), challenge]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    workspace = await gate.workspace(refusing)
    await gate.server.ask(gate.asking(workspace))
    gate.plane.asked.clear()
    answer = await gate.server.ask(gate.asking(workspace))
    assert (answer.status, answer.failure["may_have_arrived"]) == (502, False)
    assert sum("/routes/" in one for one in gate.plane.asked) == 1
    assert asked == 2
    # Where the token was revoked meanwhile it is that.
    token = gate.plane.token(workspace)
    gate.plane.is_mute = True
    gate.plane.change(workspace, generation=2)
    assert (await gate.server.ask(asking(token))).status == 401


async def test_an_applications_own_401_passes(gate: Gate) -> None:
    @http_only
    async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
        await reply(send, b"who are you?", status=401)

    workspace = await gate.workspace(refusing)
    answer = await gate.server.ask(gate.asking(workspace, "/proxy/3000/"))
    assert (answer.status, answer.body) == (401, b"who are you?")


async def test_no_connection_of_one_generation_serves_the_next(gate: Gate) -> None:
    peers: list[Any] = []

    @http_only
    async def telling(scope: Any, _receive: Any, send: Any) -> None:
        peers.append(scope["client"])
        await reply(send)

    workspace = await gate.workspace(telling)
    for _ in range(2):
        await gate.server.ask(gate.asking(workspace))
    assert peers[0] == peers[1], "nothing is used again"
    gate.plane.change(workspace, generation=2)
    await gate.server.ask(gate.asking(workspace))
    assert peers[2] != peers[1]
    assert len(set(peers)) == 2


async def _socket(gate: Gate, workspace: Workspace, *, receive_buffer: int | None = None) -> Wire:
    wire = await gate.server.connect(receive_buffer=receive_buffer)
    await wire.send(handshake("/ws", f"Authorization: Bearer {gate.plane.token(workspace)}"))
    head = await wire.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    return wire


async def test_many_changes_at_once_leave_nothing_open_that_the_last_one_forbids(
    gate: Gate,
) -> None:
    """Whatever is being looked up while a change is told, the last one counts."""
    workspace = await gate.workspace(endless)
    for turn in range(20):
        token = gate.plane.token(workspace)
        wires = [await gate.server.connect() for _ in range(4)]
        for number, wire in enumerate(wires):
            await wire.send(asking(token, "/stream"))
            if number % 2 == turn % 2:
                gate.plane.change(workspace, public_access=True)
        gate.plane.change(workspace, generation=workspace.generation + 1)
        for wire in wires:
            with trio.fail_after(5.0):
                while b"unauthorized" not in (data := await wire.some()) and data:
                    pass
            await wire.stream.aclose()
    assert gate.gateway.registry.live() == ()

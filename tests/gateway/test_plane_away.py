"""The control plane away, slow, mad, or restarted: what goes on, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.gateway.gates import Gate, Gates, asking, handshake, until
from tests.gateway.plane import Plane
from tests.server.site import eventually, hello, http_only, reply


@http_only
async def streaming(scope: Any, receive: Any, send: Any) -> None:
    """A piece for each piece of the request's body; below / says hello."""
    if scope["path"] == "/":
        await reply(send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (message := await receive())["type"] == "http.request":
        if message["body"]:
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        if not message["more_body"]:
            await send({"type": "http.response.body", "body": b""})
            return


async def _away(gate: Gate) -> None:
    await eventually(lambda: not gate.gateway.directory.in_contact, "it is not missed")


async def _back(gate: Gate) -> None:
    await eventually(lambda: gate.gateway.directory.in_contact, "it is not found again")


async def test_what_is_known_is_served_and_what_is_not_is_503(gate: Gate) -> None:
    known = await gate.workspace(streaming, "known")
    other = gate.known(known.port, "other")
    token, unknown = gate.plane.token(known), gate.plane.token(other)
    await gate.settled()
    assert await gate.status(asking(token)) == 200
    gate.plane.stop()
    await _away(gate)
    assert await gate.status(asking(token)) == 200
    assert await gate.status(gate.asking(known)) == 200  # a token that is new
    answer = await gate.server.ask(asking(unknown))
    assert (answer.status, answer.failure["code"]) == (503, "unavailable")
    assert answer.failure["may_have_arrived"] is False
    assert await gate.status(gate.asking(known, gen=0)) == 401
    # It may have been made by a rotation that this gateway has not heard of.
    assert await gate.status(gate.asking(known, gen=2)) == 503
    gate.plane.start()
    await _back(gate)
    assert await gate.status(asking(unknown)) == 200


async def test_live_streams_and_sockets_go_on(gate: Gate) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await streaming(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    workspace = await gate.workspace(app)
    token = gate.plane.token(workspace)
    stream, socket = await gate.server.connect(), await gate.server.connect()
    await stream.send(asking(token, "/stream", "Transfer-Encoding: chunked", method="POST"))
    await socket.send(handshake("/ws", f"Authorization: Bearer {token}"))
    await socket.until(b"\r\n\r\n")

    async def both_live(word: bytes) -> None:
        await stream.send(b"%x\r\n%b\r\n" % (len(word), word))
        await stream.until(word)
        await socket.send(bytes([0x81, 0x80 | len(word), 0, 0, 0, 0]) + word)
        assert await socket.exactly(2 + len(word)) == bytes([0x81, len(word)]) + word

    await both_live(b"before")
    gate.plane.stop()
    await _away(gate)
    await both_live(b"meanwhile")
    gate.plane.start()
    await _back(gate)
    await gate.settled()
    await both_live(b"after")
    await stream.send(b"0\r\n\r\n")
    await stream.until(b"0\r\n\r\n")


async def test_after_too_long_nothing_is_served_from_memory(gates: Gates) -> None:
    gate = await gates.open(stale_for=0.3)
    workspace = await gate.workspace(hello)
    token = gate.plane.token(workspace)
    assert await gate.status(asking(token)) == 200
    gate.plane.stop()
    await _away(gate)

    async def is_stale() -> bool:
        return await gate.status(asking(token)) == 503

    await until(is_stale)
    gate.plane.start()
    await _back(gate)
    assert await gate.status(asking(token)) == 200


async def test_what_changed_while_it_was_away_counts_when_it_is_back(gate: Gate) -> None:
    workspace = await gate.workspace(streaming)
    token = gate.plane.token(workspace)
    stream = await gate.server.connect()
    await stream.send(asking(token, "/stream", "Transfer-Encoding: chunked", method="POST"))
    await stream.send(b"1\r\na\r\n")
    await stream.until(b"a")
    gate.plane.stop()
    await _away(gate)
    gate.plane.change(workspace, generation=2)
    assert await gate.status(asking(token)) == 200
    gate.plane.start()
    await stream.all()
    assert await gate.status(asking(token)) == 401


async def test_a_change_that_was_told_counts_though_nobody_answers_any_more(gate: Gate) -> None:
    """Told of a change, and then alone: what was known before must not be served."""
    workspace = await gate.workspace(hello)
    token = gate.plane.token(workspace)
    assert await gate.status(asking(token)) == 200
    gate.plane.slow = 60.0  # the feed answers, the record never comes
    gate.plane.change(workspace, generation=2)
    await gate.settled()
    assert await gate.status(asking(token)) == 503


async def test_a_token_newer_than_what_is_known_is_looked_up_before_the_feed_is_back(
    gate: Gate,
) -> None:
    """It was 401 until the gateway was in contact again, as if it had been revoked."""
    workspace = await gate.workspace(hello)
    assert await gate.status(gate.asking(workspace)) == 200
    gate.plane.stop()
    await _away(gate)
    gate.plane.change(workspace, generation=2)
    gate.plane.start()
    gate.gateway.directory.in_contact = False
    assert await gate.status(gate.asking(workspace, gen=2)) == 200


async def test_a_gateway_that_starts_first_waits(gates: Gates, plane: Plane) -> None:
    plane.stop()
    gate = await gates.open()
    workspace = await gate.workspace(hello)
    answer = await gate.server.ask(gate.asking(workspace))
    assert (answer.status, answer.failure["code"]) == (503, "unavailable")
    assert await gate.status(asking("nonsense")) == 401
    plane.start()
    await _back(gate)

    async def is_served() -> bool:
        return await gate.status(gate.asking(workspace)) == 200

    await until(is_served)


FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "401": {"status": 401},
    "redirect": {"status": 302},
    "nonsense": {"garbage": b"\0\xff nonsense"},
    "no JSON": {"garbage": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>"},
    "another shape": {"garbage": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"},
    "deep": {"garbage": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000},
    "no UTF-8": {
        "garbage": b'HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{"seq":1,"workspaces":["\xff"]}'
    },
    "cut": {"garbage": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"seq":'},
    "nothing": {"garbage": b""},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_mad_control_plane_is_one_that_is_away(gate: Gate, fault: dict[str, Any]) -> None:
    known = await gate.workspace(hello, "known")
    other = gate.known(known.port, "other")
    await gate.settled()
    assert await gate.status(gate.asking(known)) == 200
    for name, value in fault.items():
        setattr(gate.plane, name, value)
    gate.plane.change(other)  # answers the one that waits
    await _away(gate)
    assert await gate.status(gate.asking(known)) == 200
    assert await gate.status(gate.asking(other)) == 503
    gate.plane.status = gate.plane.garbage = None
    await _back(gate)
    assert await gate.status(gate.asking(other)) == 200


async def test_many_who_ask_at_once_cost_one_look_up(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    gate.plane.slow = 0.1
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append(await gate.status(gate.asking(workspace)))

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(ask)
    assert statuses == [200] * 30
    assert sum("/routes/" in one for one in gate.plane.asked) == 1


async def test_who_leaves_takes_nobody_elses_look_up_along(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    gate.plane.slow = 0.2
    leaver = await gate.server.connect()
    await leaver.send(gate.asking(workspace))
    await eventually(lambda: any("/routes/" in one for one in gate.plane.asked), "not asked")
    await leaver.stream.aclose()
    assert await gate.status(gate.asking(workspace)) == 200


async def test_a_control_plane_that_hangs_keeps_nobody_in_a_queue(gate: Gate) -> None:
    workspaces = [gate.known(9, f"ws_{number}") for number in range(60)]
    await gate.settled()
    gate.plane.slow = 60.0
    statuses: list[int] = []

    async def ask(raw: bytes) -> None:
        statuses.append(await gate.status(raw))

    async with trio.open_nursery() as nursery:
        for one in workspaces:
            nursery.start_soon(ask, gate.asking(one))
    assert statuses == [503] * len(workspaces)
    # As many as are asked for at once; for the others the time was up meanwhile.
    assert sum("/routes/" in one for one in gate.plane.asked) < len(workspaces)

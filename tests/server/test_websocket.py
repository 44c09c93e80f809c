"""WebSockets: the handshake, what it refuses, messages, clocks, closing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from wsproto.connection import Connection, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    TextMessage,
)

from hutch.server.answers import respond_failure
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure
from tests.server.site import Answer, Application, Server, Site, Wire, get, http_only

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")


def upgrade(*more: str, key: str | None = KEY) -> bytes:
    keys = () if key is None else (f"Sec-WebSocket-Key: {key}",)
    return get("/ws", *HANDSHAKE, *keys, *more)


class Socket:
    """A client's end of one WebSocket."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.frames = Connection(ConnectionType.CLIENT)
        self.events: list[Event] = []

    async def send(self, event: Event) -> None:
        await self.wire.send(self.frames.send(event))

    async def next(self) -> Event:
        while not self.events:
            data = await self.wire.some()
            assert data, "closed without a close frame"
            self.frames.receive_data(data)
            self.events.extend(self.frames.events())
        return self.events.pop(0)

    async def message(self) -> bytes | str:
        whole: Any = None
        while True:
            event = await self.next()
            if isinstance(event, Message):
                whole = event.data if whole is None else whole + event.data
                if event.message_finished:
                    return bytes(whole) if isinstance(whole, bytearray) else whole

    async def closing(self) -> tuple[int, str | None]:
        while True:
            event = await self.next()
            if isinstance(event, CloseConnection):
                return int(event.code), event.reason


@asynccontextmanager
async def opened(server: Server, *more: str) -> AsyncIterator[Socket]:
    wire = await server.connect()
    await wire.send(upgrade(*more))
    answer = await wire.answer()
    assert answer.status == 101, answer
    yield Socket(wire)


Handler = Callable[[Any, Any], Awaitable[None]]


class Sockets:
    """An application that accepts and hands over; remembers how each socket ended."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.ended = trio.Event()
        self.endings: list[str] = []
        self.app: Application = http_only(self._run)

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        try:
            await self._handler(receive, send)
            self.endings.append("returned")
        except trio.Cancelled:
            self.endings.append("cancelled")
            raise
        except Exception as error:
            self.endings.append(type(error).__name__)
            raise
        finally:
            self.ended.set()

    async def end(self) -> str:
        with trio.fail_after(5):
            await self.ended.wait()
        return self.endings[0]


async def _echo(receive: Any, send: Any) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def _read_only(receive: Any, _send: Any) -> None:
    while (await receive())["type"] == "websocket.receive":
        pass


async def _send_only(_receive: Any, send: Any) -> None:
    while True:
        await send({"type": "websocket.send", "bytes": b"x" * 1000})


MESSAGES: dict[str, bytes | str] = {
    "text": "hällo",
    "bytes": b"\x01abc",
    "empty bytes": b"",
    "empty text": "",
    "a large one": b"x" * 3_000_000,
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
async def test_messages_come_back_as_they_went(site: Site, message: bytes | str) -> None:
    server = await site.serve(Sockets(_echo).app)
    async with opened(server) as socket:
        event = (
            TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)
        )
        for _ in range(2):
            await socket.send(event)
            assert await socket.message() == message


async def test_an_empty_binary_frame_reaches_the_application_as_bytes(site: Site) -> None:
    got: list[Any] = []

    async def handler(receive: Any, _send: Any) -> None:
        got.append(await receive())

    sockets = Sockets(handler)
    server = await site.serve(sockets.app)
    async with opened(server) as socket:
        await socket.send(BytesMessage(data=b""))
        await sockets.end()
    assert got == [{"type": "websocket.receive", "bytes": b"", "text": None}]


async def test_fragments_make_one_message(site: Site) -> None:
    server = await site.serve(Sockets(_echo).app)
    async with opened(server) as socket:
        await socket.send(TextMessage(data="ä", message_finished=False))
        await socket.send(Ping(payload=b"between"))
        await socket.send(TextMessage(data="ö"))
        assert isinstance(await socket.next(), Pong)
        assert await socket.message() == "äö"


async def test_permessage_deflate_is_not_negotiated(site: Site) -> None:
    server = await site.serve(Sockets(_echo).app)
    wire = await server.connect()
    await wire.send(upgrade("Sec-WebSocket-Extensions: permessage-deflate"))
    answer = await wire.answer()
    assert answer.status == 101
    assert b"sec-websocket-extensions" not in answer.headers
    # A frame that claims compression all the same: 1002.
    await wire.send(b"\xc1\x80\0\0\0\0")
    assert (await Socket(wire).closing())[0] == 1002


ODD_UPGRADES = {
    "extensions that are not ASCII": (upgrade("Sec-WebSocket-Extensions: \xff"), 101),
    "a protocol that is not ASCII": (upgrade("Sec-WebSocket-Protocol: \xff"), 101),
    "a key that is not base64": (upgrade(key="???"), 400),
    "a key that is not ASCII": (upgrade(key="\xff" * 24), 400),
    "a key that is too short": (upgrade(key="YWJj"), 400),
    "no key": (upgrade(key=None), 400),
    "two keys": (upgrade(f"Sec-WebSocket-Key: {KEY}"), 400),
    "an old version": (
        get("/ws", *HANDSHAKE[:2], "Sec-WebSocket-Version: 8", f"Sec-WebSocket-Key: {KEY}"),
        400,
    ),
    "no connection header": (get("/ws", *HANDSHAKE[1:], f"Sec-WebSocket-Key: {KEY}"), 400),
    "a POST": (upgrade().replace(b"GET", b"POST", 1), 400),
    "followed by one byte": (upgrade() + b"\x81", 400),
    "with a body": (upgrade("Content-Length: 3") + b"abc", 400),
}


@pytest.mark.parametrize(("raw", "status"), ODD_UPGRADES.values(), ids=ODD_UPGRADES)
async def test_an_odd_handshake_is_answered_and_the_server_lives(
    site: Site, raw: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = await site.serve(Sockets(_echo).app)
    wire = await server.connect()
    await wire.send(raw)
    answer = await wire.answer()
    assert answer.status == status
    if status == 400:
        assert answer.failure["code"] == "bad_request"
        await wire.closed()
    await server.lives()
    assert "Traceback" not in caplog.text


async def test_bytes_before_the_handshake_is_answered_drop_the_connection(site: Site) -> None:
    """The trap: an upgrade followed by one byte ended the whole process."""
    accepted = trio.Event()

    async def handler(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"
        accepted.set()

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(upgrade())
    await trio.testing.wait_all_tasks_blocked()
    await wire.send(b"\x81")
    with trio.fail_after(5):
        await accepted.wait()
    await wire.closed()
    await server.lives()


BAD_FRAMES = {
    "not masked": (b"\x81\x01a", 1002),
    "a reserved opcode": (b"\x83\x80\0\0\0\0", 1002),
    "text that is not UTF-8": (b"\x81\x81\0\0\0\0\xff", 1007),
    "a ping that is too long": (b"\x89\xfe\x00\x80\0\0\0\0" + b"a" * 128, 1002),
    "a continuation of nothing": (b"\x80\x80\0\0\0\0", 1002),
    "a close of one byte": (b"\x88\x81\0\0\0\0a", 1002),
    "a close with a reserved code": (b"\x88\x82\0\0\0\0\x03\xed", 1002),
}


@pytest.mark.parametrize(("frame", "code"), BAD_FRAMES.values(), ids=BAD_FRAMES)
async def test_a_bad_frame_closes_that_socket_alone(
    site: Site, frame: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    sockets = Sockets(_echo)
    server = await site.serve(sockets.app)
    async with opened(server) as socket:
        await socket.wire.send(frame)
        assert (await socket.closing())[0] == code
        assert await sockets.end() == "returned"
    await server.lives()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("fragments", [1, 50])
async def test_a_message_over_the_limit_is_closed_with_1009(site: Site, fragments: int) -> None:
    server = await site.serve(Sockets(_echo).app, message_bytes=1000)
    async with opened(server) as socket:
        await socket.send(BytesMessage(data=b"x" * 1000))
        assert await socket.message() == b"x" * 1000
        for one in range(fragments):
            data = b"x" * (1001 // fragments + 1)
            await socket.send(BytesMessage(data=data, message_finished=one == fragments - 1))
        assert (await socket.closing())[0] == 1009


async def test_text_is_counted_in_bytes(site: Site) -> None:
    server = await site.serve(Sockets(_echo).app, message_bytes=1000)
    async with opened(server) as socket:
        await socket.send(TextMessage(data="ä" * 501))
        assert (await socket.closing())[0] == 1009


async def test_an_application_that_does_not_read_holds_back_the_client(site: Site) -> None:
    gate = trio.Event()

    async def handler(receive: Any, send: Any) -> None:
        await gate.wait()
        await _echo(receive, send)

    server = await site.serve(Sockets(handler).app, message_bytes=100_000, pong_seconds=0.2)
    async with opened(server) as socket:
        sent = 0
        with trio.move_on_after(0.6):
            while True:
                await socket.send(BytesMessage(data=b"x" * 100_000))
                sent += 1
        assert 1 < sent < 200
        gate.set()
        for _ in range(sent):
            assert await socket.message() == b"x" * 100_000


async def test_close_by_the_client(site: Site) -> None:
    farewells: list[Any] = []

    async def handler(receive: Any, _send: Any) -> None:
        for _ in range(2):  # told as often as it is asked for
            farewells.append(await receive())

    sockets = Sockets(handler)
    server = await site.serve(sockets.app)
    async with opened(server) as socket:
        await socket.send(CloseConnection(code=4000, reason="bye"))
        assert (await socket.closing())[0] == 4000
        assert await socket.wire.all() == b""
        await sockets.end()
    assert farewells == [{"type": "websocket.disconnect", "code": 4000, "reason": "bye"}] * 2


async def test_close_by_the_application(site: Site) -> None:
    async def handler(_receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})

    server = await site.serve(Sockets(handler).app)
    async with opened(server) as socket:
        assert await socket.closing() == (4001, "enough")
        await socket.send(CloseConnection(code=4001))
        assert await socket.wire.all() == b""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 1000),
        (ValueError("a bug"), 1011),
        (Failure("unauthorized", "the token was replaced"), 1008),
        (Failure("internal", "it broke"), 1011),
    ],
    ids=["returns", "bug", "unauthorized", "failure"],
)
async def test_the_end_of_the_application_closes_the_socket(
    site: Site, error: Exception | None, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_receive: Any, _send: Any) -> None:
        if error is not None:
            raise error

    server = await site.serve(Sockets(handler).app)
    async with opened(server) as socket:
        assert (await socket.closing())[0] == code
        # It does not wait for a client that says nothing more.
        assert await socket.wire.all() == b""
    assert ("Traceback" in caplog.text) == isinstance(error, ValueError)


async def test_a_loop_of_sends_to_a_client_that_left_stops(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The trap: it never checkpointed, and froze the event loop."""
    sockets = Sockets(_send_only)
    server = await site.serve(sockets.app)
    async with opened(server) as socket:
        await socket.message()
        await socket.wire.stream.aclose()
    assert await sockets.end() == "cancelled"
    await server.lives()
    assert "Traceback" not in caplog.text


async def test_a_loop_of_sends_to_a_client_that_closed_stops(site: Site) -> None:
    sockets = Sockets(_send_only)
    server = await site.serve(sockets.app)
    async with opened(server) as socket:
        await socket.message()
        await socket.send(CloseConnection(code=1000))
        assert (await socket.closing())[0] == 1000
    assert await sockets.end() == "cancelled"


async def test_a_client_that_leaves_is_told_to_a_reader(site: Site) -> None:
    sockets = Sockets(_read_only)
    server = await site.serve(sockets.app)
    async with opened(server) as socket:
        await socket.wire.stream.aclose()
    assert await sockets.end() == "returned"


async def test_pings_are_sent_and_answered(site: Site) -> None:
    server = await site.serve(Sockets(_echo).app, ping_seconds=0.05, pong_seconds=1)
    async with opened(server) as socket:
        for _ in range(30):
            event = await socket.next()
            assert isinstance(event, Ping)
            await socket.send(event.response())
        await socket.send(TextMessage(data="alive"))
        assert await socket.message() == "alive"


async def test_a_client_that_answers_no_ping_is_dropped(site: Site) -> None:
    sockets = Sockets(_read_only)
    server = await site.serve(sockets.app, ping_seconds=0.05, pong_seconds=0.2)
    async with opened(server) as socket:
        assert await sockets.end() == "returned"
        await socket.wire.all()


async def test_a_client_that_takes_nothing_is_dropped(site: Site) -> None:
    sockets = Sockets(_send_only)
    server = await site.serve(sockets.app, send_idle_seconds=0.2)
    async with opened(server):
        assert await sockets.end() == "cancelled"


async def test_at_shutdown_the_socket_is_told_1012(site: Site) -> None:
    sockets = Sockets(_read_only)
    server = await site.serve(sockets.app)
    async with opened(server) as socket:
        server.shutdown.set()
        assert (await socket.closing())[0] == 1012
        await socket.send(CloseConnection(code=1012))
        assert await sockets.end() == "returned"
        await server.stop()


async def test_at_shutdown_a_client_that_takes_nothing_is_cut(site: Site) -> None:
    sockets = Sockets(_send_only)
    server = await site.serve(sockets.app)
    async with opened(server):
        await trio.sleep(0.1)
        await server.stop()
    assert sockets.endings == ["cancelled"]


def _refusing(*messages: Any) -> Application:
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for one in messages:
            await send(one)
        if not messages:
            failure = Failure("unauthorized", "no token")
            await respond_failure(Exchange(scope, receive, send), failure)

    return http_only(handler)


async def _refused(site: Site, app: Application) -> Answer:
    server = await site.serve(app)
    wire = await server.connect()
    await wire.send(upgrade())
    answer = await wire.answer()
    await wire.closed()
    await server.lives()
    return answer


async def test_a_refusal_is_a_proper_answer(site: Site) -> None:
    answer = await _refused(site, _refusing())
    assert (answer.status, answer.failure["code"]) == (401, "unauthorized")


async def test_a_close_before_the_accept_is_403(site: Site) -> None:
    answer = await _refused(site, _refusing({"type": "websocket.close"}))
    assert (answer.status, answer.failure["code"]) == (403, "forbidden")


async def test_a_bug_before_the_accept_is_500(site: Site) -> None:
    answer = await _refused(site, _refusing({"type": "websocket.nonsense"}))
    assert (answer.status, answer.failure["code"]) == (500, "internal")


async def test_an_application_that_accepts_nothing_is_500(site: Site) -> None:
    async def handler(_scope: Any, _receive: Any, _send: Any) -> None:
        return

    assert (await _refused(site, http_only(handler))).status == 500


async def test_a_failure_after_the_accept_closes_with_its_meaning(site: Site) -> None:
    """`respond_failure` is what an application does when a token is replaced."""

    async def handler(_receive: Any, send: Any) -> None:
        scope = {"type": "websocket", "state": {}}
        await respond_failure(Exchange(scope, None, send), Failure("unauthorized", "replaced"))  # type: ignore[arg-type]

    server = await site.serve(Sockets(handler).app)
    async with opened(server) as socket:
        assert (await socket.closing())[0] == 1008


async def test_a_subprotocol_is_chosen_among_the_offered(site: Site) -> None:
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert scope["subprotocols"] == ["one", "two"]
        await send({"type": "websocket.accept", "subprotocol": "two", "headers": [(b"x-a", b"1")]})

    server = await site.serve(http_only(handler))
    wire = await server.connect()
    await wire.send(upgrade("Sec-WebSocket-Protocol: one, two"))
    answer = await wire.answer()
    assert answer.headers[b"sec-websocket-protocol"] == b"two"
    assert answer.headers[b"sec-websocket-accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.headers[b"x-a"] == b"1"
    assert b"x-request-id" in answer.headers


async def test_a_flood_of_pings_does_not_keep_others_out(site: Site) -> None:
    server = await site.serve(Sockets(_echo).app)
    async with opened(server) as socket:
        ping = socket.frames.send(Ping(payload=b"x" * 100))

        async def flood() -> None:
            while True:
                await socket.wire.send(ping * 500)

        async def swallow() -> None:
            while await socket.wire.some():
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            nursery.start_soon(swallow)
            for _ in range(20):
                await server.lives()
            nursery.cancel_scope.cancel()


async def test_room_is_waited_for_and_one_that_takes_nothing_is_told_of(site: Site) -> None:
    """The extension `hutch.room`, by which an application closes in order whoever does not read."""
    sent, full = 0, trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await receive()
        await send({"type": "websocket.accept"})
        while await scope["extensions"]["hutch.room"](0.2):
            await send({"type": "websocket.send", "bytes": b"x" * 8192})
            sent += 1
        full.set()
        await send({"type": "websocket.close", "code": 1013})

    server = await site.serve(http_only(app), ping_seconds=0.05, pong_seconds=30)
    async with opened(server) as socket:
        with trio.fail_after(20):
            await full.wait()
        # All of it, whole: no frame was stuck half-way.
        for _ in range(sent):
            assert await socket.message() == b"x" * 8192
        assert (await socket.closing())[0] == 1013
    assert sent > 1


async def test_who_waits_for_room_is_released_by_the_shutdown(site: Site) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 8192})
            await scope["extensions"]["hutch.room"](600)

    server = await site.serve(http_only(app))
    async with opened(server):
        await trio.sleep(0.2)
        with trio.fail_after(8):
            await server.stop()

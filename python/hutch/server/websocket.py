"""One WebSocket: ASGI messages on one side, wsproto frames on the other.

Belongs here: messages, pings, closing. Banned here: reading the handshake (`handshake`), sockets
that an application takes over (`tunnel`), HTTP answers (a refused handshake is one, and goes
through `exchange`). No extension is ever negotiated: with permessage-deflate 65 KB inflate to
200 MB.

Sending to a client that has gone cancels the application's task. Raising would be logged by
frameworks as an error of the handler; returning would let a loop of sends run for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, generate_accept_token

from hutch.server import guard
from hutch.server.exchange import HttpExchange
from hutch.server.gone import AnswerBegun, ClientGone
from hutch.server.handshake import Handshake
from hutch.server.service import Service
from hutch.server.streaming import Exchange, Message
from hutch.server.transport import Transport
from hutch.server.tunnel import TUNNEL, Stoppable, Tunnel
from hutch.wire.errors import Failure

# One read may bring 10,000 empty frames: others get a turn.
_EVENTS_A_TURN: Final = 64
# What an empty message costs in memory, so that a flood of them is bounded too.
_MESSAGE_COST: Final = 64


class WebSocket:
    """One socket, from its handshake to its end."""

    def __init__(
        self,
        service: Service,
        transport: Transport,
        http: HttpExchange,
        scope: dict[str, Any],
        handshake: Handshake,
    ) -> None:
        self._service = service
        self._limits, self._bounds = service.limits, service.sockets
        self._transport = transport
        self._http = http
        self._scope = scope
        self._handshake = handshake
        self._frames: Connection | None = None
        self._told_connect = False
        self._farewell: dict[str, Any] | None = None
        self._inbox, self._outlet = trio.open_memory_channel[tuple[dict[str, Any], int]](math.inf)
        self._queued = 0
        self._room = trio.Event()
        self._paused = False
        self._message = bytearray()
        self._lock = trio.Lock()
        self._late_pong = b""
        self._heard = trio.current_time()
        self._peer_closed = trio.Event()
        self._application = trio.CancelScope()
        self._speaking = (Stoppable(), Stoppable())
        self._tunnel = Tunnel(transport, http, service.closing, self._hand_over)
        scope["extensions"][TUNNEL] = self._tunnel
        self._pause = trio.CancelScope()
        scope["extensions"]["hutch.room"] = self.wait_room

    async def run(self) -> None:
        """Runs the application for this socket; closes the socket in order, not the connection."""
        exchange = Exchange(self._scope, self.receive, self.send)
        outcome = guard.Outcome("gone")
        async with trio.open_nursery() as nursery:
            for one, work in zip(self._speaking, (self._read, self._ping), strict=True):
                nursery.start_soon(one.run, work)
            nursery.start_soon(self._at_shutdown)
            with self._application:
                outcome = await guard.run(self._service.app, exchange)
            await self._conclude(outcome)
            nursery.cancel_scope.cancel()

    async def _hand_over(self) -> None:
        """The application speaks with the client by itself."""
        for one in self._speaking:
            await one.stop()

    async def _conclude(self, outcome: guard.Outcome) -> None:
        if self._tunnel.switched:
            if outcome.kind != "returned":
                self._transport.reset()
            return
        if self._frames is None:
            if self._http.gone or self._http.complete or outcome.kind == "gone":
                return
            if outcome.kind == "returned":
                outcome = guard.incomplete(self._http.request_id)
            if outcome.failure is not None:
                await self._http.refuse(outcome.failure)
            return
        if self._farewell is None:
            await self._close(_code(outcome))
        with trio.move_on_after(self._limits.drain_seconds):
            await self._peer_closed.wait()

    # -- the application's side ------------------------------------------------------------

    async def receive(self) -> Message:
        """`connect` first, then messages, then `disconnect` as often as it is asked for."""
        if not self._told_connect:
            self._told_connect = True
            return {"type": "websocket.connect"}
        try:
            message, size = await self._outlet.receive()
        except trio.EndOfChannel:
            await trio.lowlevel.checkpoint()
            return dict(self._farewell or _disconnect(CloseReason.ABNORMAL_CLOSURE))
        self._queued -= size
        self._room.set()
        return message

    async def send(self, message: Message) -> None:
        """Accept, refuse, send, close. Raises `AnswerBegun` for a refusal that is too late."""
        kind: str = message["type"]
        if self._farewell is not None:
            self._application.cancel()
            await trio.lowlevel.checkpoint()
            return
        if kind.startswith("websocket.http.response."):
            await self._refuse(message)
        elif self._frames is None:
            await self._answer(message)
        elif kind == "websocket.send":
            await self._send_message(message)
        elif kind == "websocket.close":
            await self._close(message.get("code") or 1000, message.get("reason") or "")
        else:
            raise RuntimeError(f"no message for a WebSocket that is open: {kind}")

    async def wait_room(self, idle_seconds: float) -> bool:
        """The extension `hutch.room`: waits until the client takes more.

        False where it takes nothing for `idle_seconds`; every byte that it takes renews them. An
        application that asks before each send, and sends little at a time, can still close in
        order a socket that nobody reads: no frame is stuck half-way.
        """
        if self._farewell is not None or self._transport.has_room():
            return True
        # Pings and pongs are sent by others: one at a time may wait for a socket.
        async with self._lock:
            if self._farewell is not None:
                return True  # it was closed while another frame was under way
            with trio.CancelScope() as self._pause:
                return await self._transport.wait_room(idle_seconds)
        return True  # the socket is closed, in order; the next send tells

    async def _refuse(self, message: Message) -> None:
        if self._frames is not None:
            raise AnswerBegun(message.get("status", 500))
        await self._http.send({**message, "type": message["type"].removeprefix("websocket.")})

    async def _answer(self, message: Message) -> None:
        if message["type"] == "websocket.close":
            await self._http.refuse(Failure("forbidden", "the WebSocket was refused"))
        elif message["type"] == "websocket.accept":
            await self._accept(message)
        else:
            raise RuntimeError(f"no message for a WebSocket in its handshake: {message['type']}")

    async def _accept(self, message: Message) -> None:
        headers = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", generate_accept_token(self._handshake.key)),
            *message.get("headers", ()),
        ]
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            if subprotocol not in self._handshake.offered:
                raise RuntimeError(f"the client did not offer the subprotocol {subprotocol!r}")
            headers.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
        # Before the answer leaves: what comes after it is frames.
        self._frames = Connection(ConnectionType.SERVER)
        self._heard = trio.current_time()
        await self._guarded(lambda: self._http.switch(headers))

    async def _send_message(self, message: Message) -> None:
        data = message.get("bytes")
        if data is None:
            text: str = message["text"]
            event: Event = TextMessage(data=text)
            size = len(text)
        else:
            event = BytesMessage(data=bytes(data))
            size = len(data)
        await self._guarded(lambda: self._transmit(event))
        self._http.sent += size
        await trio.lowlevel.checkpoint()

    async def _guarded(self, work: Callable[[], Any]) -> None:
        """Runs a send of the application; a client that has gone ends the application."""
        try:
            await work()
        except ClientGone:
            self._leave(CloseReason.ABNORMAL_CLOSURE)
            self._application.cancel()
            await trio.lowlevel.checkpoint()

    # -- frames ----------------------------------------------------------------------------

    async def _transmit(self, event: Event) -> None:
        assert self._frames is not None  # noqa: S101  # for mypy: only called once accepted
        async with self._lock:
            try:
                data = self._frames.send(event)
            except LocalProtocolError:
                return  # a close crossed it
            await self._transport.send([data])
            while self._late_pong:
                pong, self._late_pong = self._late_pong, b""
                await self._transport.send([pong])

    async def _close(self, code: int, reason: str = "") -> None:
        self._leave(code, reason)
        try:
            with trio.move_on_after(self._limits.drain_seconds):
                await self._transmit(CloseConnection(code=code, reason=reason))
        except ClientGone:
            self._peer_closed.set()

    def _leave(self, code: int, reason: str = "") -> None:
        """No more messages: `receive` tells what is queued, then the disconnect."""
        if self._farewell is None:
            self._farewell = _disconnect(code, reason)
            self._inbox.close()
            self._room.set()
            self._pause.cancel()

    async def _read(self) -> None:
        while not self._peer_closed.is_set():
            data = await self._transport.receive()
            if not data or self._frames is None:
                # Gone; or it sent frames before it was let in, which nobody may (RFC 6455, 4.1).
                self._http.gone = True
                self._leave(CloseReason.ABNORMAL_CLOSURE)
                self._peer_closed.set()
                return
            self._heard = trio.current_time()
            try:
                await self._feed(self._frames, data)
            except ClientGone:
                self._leave(CloseReason.ABNORMAL_CLOSURE)
                self._peer_closed.set()
            await self._until_room()

    async def _until_room(self) -> None:
        """Backpressure: while the application has a message's worth to read, nothing is read."""
        await trio.lowlevel.checkpoint()
        self._paused = True
        while self._queued > self._bounds.message_bytes and self._farewell is None:
            self._room = trio.Event()
            await self._room.wait()
        if self._paused:
            self._paused = False
            self._heard = trio.current_time()

    async def _feed(self, frames: Connection, data: bytes) -> None:
        frames.receive_data(data)
        for count, event in enumerate(frames.events(), start=1):
            await self._handle(frames, event)
            if count % _EVENTS_A_TURN == 0:
                await trio.lowlevel.checkpoint()

    async def _handle(self, frames: Connection, event: Event) -> None:
        if isinstance(event, (TextMessage, BytesMessage)):
            if self._farewell is None:
                await self._collect(event)
        elif isinstance(event, Ping):
            await self._pong(frames, event)
        elif isinstance(event, CloseConnection):
            if frames.state is ConnectionState.OPEN:
                # Not sent by the client: wsproto's word for what it could not parse.
                await self._close(event.code, event.reason or "")
            elif frames.state is ConnectionState.REMOTE_CLOSING:
                self._leave(event.code, event.reason or "")
                await self._transmit(event.response())
            self._peer_closed.set()

    async def _collect(self, event: TextMessage | BytesMessage) -> None:
        data = event.data.encode() if isinstance(event, TextMessage) else event.data
        self._message += data
        if len(self._message) > self._bounds.message_bytes:
            self._message.clear()
            limit = f"a message is at most {self._bounds.message_bytes} bytes"
            await self._close(CloseReason.MESSAGE_TOO_BIG, limit)
        elif event.message_finished:
            whole = bytes(self._message)
            self._message.clear()
            self._deliver(whole, is_text=isinstance(event, TextMessage))

    def _deliver(self, whole: bytes, *, is_text: bool) -> None:
        size = len(whole) + _MESSAGE_COST
        self._queued += size
        message = {
            "type": "websocket.receive",
            "bytes": None if is_text else whole,
            "text": whole.decode() if is_text else None,
        }
        self._inbox.send_nowait((message, size))

    async def _pong(self, frames: Connection, ping: Ping) -> None:
        if self._lock.locked():
            # A frame is half out. Only the latest ping needs an answer (RFC 6455, 5.5.3).
            if self._farewell is None:
                self._late_pong = frames.send(ping.response())
        else:
            await self._transmit(ping.response())

    # -- clocks ----------------------------------------------------------------------------

    async def _ping(self) -> None:
        pinged = trio.current_time()
        while not self._peer_closed.is_set():
            due = min(pinged + self._bounds.ping_seconds, self._heard + self._bounds.pong_seconds)
            await trio.sleep_until(max(due, trio.current_time() + 0.001))
            if self._frames is None or self._paused:
                self._heard = pinged = trio.current_time()
                continue
            if self._transport.takes():
                self._heard = trio.current_time()
            if trio.current_time() >= self._heard + self._bounds.pong_seconds:
                self._leave(CloseReason.ABNORMAL_CLOSURE)
                self._peer_closed.set()
                self._transport.reset()
                return
            if trio.current_time() >= pinged + self._bounds.ping_seconds:
                pinged = trio.current_time()
                if not self._lock.locked():
                    try:
                        await self._transmit(Ping())
                    except ClientGone:
                        return

    async def _at_shutdown(self) -> None:
        await self._service.closing.wait()
        if self._frames is not None and self._farewell is None:
            await self._close(CloseReason.SERVICE_RESTART, "the server restarts")


def _disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": int(code), "reason": reason}


def _code(outcome: guard.Outcome) -> int:
    if outcome.kind == "returned":
        return CloseReason.NORMAL_CLOSURE
    if outcome.failure is not None and outcome.failure.code in {"unauthorized", "forbidden"}:
        return CloseReason.POLICY_VIOLATION
    return CloseReason.INTERNAL_ERROR

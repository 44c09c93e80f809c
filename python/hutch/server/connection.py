"""One connection: request after request, HTTP/1.1 only.

Belongs here: reading heads, handing each request on, keep-alive, closing. Banned here: bodies and
answers (`exchange`), WebSockets (`websocket`), who may connect (`census`).

Hypercorn's own TCPServer, ProtocolWrapper, H11Protocol and HTTPStream are replaced, not patched.
Most traps of theirs lie in what they are made of: two tasks, a lock, a channel and a timer task
for each request, shielded sends without a deadline, HTTP/2 by prior knowledge, body bytes pushed
into a queue. This is one task a connection that reads when somebody asks and sends with a
deadline; h11 and wsproto, Hypercorn's parsers, stay. Hypercorn's configuration, sockets and
lifespan stay in use (`hutch.server`).
"""

from __future__ import annotations

import logging
import socket
from typing import Any, Final

import h11
import trio

from hutch.server import guard, heads
from hutch.server.exchange import HttpExchange
from hutch.server.feed import Feed
from hutch.server.gone import ClientGone, RequestStalled
from hutch.server.handshake import check_handshake
from hutch.server.heads import Peers
from hutch.server.service import Service
from hutch.server.streaming import Exchange
from hutch.server.transport import Transport
from hutch.server.websocket import WebSocket
from hutch.wire.errors import Failure

_log: Final = logging.getLogger("hutch.server")

_SHOWN: Final = 200


async def serve_connection(
    service: Service, transport: Transport, connected: socket.socket
) -> None:
    """Serves one client until it or we close. Raises nothing but cancellation."""
    try:
        await transport.begin()
        peers = _peers(connected, is_secure=service.tls is not None)
        await Connection(service, transport, peers).run()
    except* ClientGone:
        pass
    except* Exception:
        # Ours, not the application's: one connection is lost, not the server.
        _log.exception("unexpected error in a connection")
    finally:
        transport.close()
        service.census.leave(transport)


def _peers(connected: socket.socket, *, is_secure: bool) -> Peers:
    ends: list[tuple[str, int] | None] = []
    for name in (connected.getpeername, connected.getsockname):
        try:
            address = name()
        except OSError:
            address = None
        ends.append(address[:2] if isinstance(address, tuple) else None)
    return Peers(client=ends[0], server=ends[1], is_secure=is_secure)


class Connection:
    """Reads requests and hands them on, one after the other."""

    def __init__(self, service: Service, transport: Transport, peers: Peers) -> None:
        self._service = service
        self._limits = service.limits
        self._transport = transport
        self._peers = peers
        # A connection on which nothing ever came is worth no more than a slow request head.
        self._patience = service.limits.header_seconds
        self._answered = False
        self._drops = service.idle.drops

    async def run(self) -> None:
        """Until the connection is to be closed; the transport's owner closes it."""
        rest: bytes | None = b""
        while rest is not None and not self._service.closing.is_set():
            rest = await self._next(rest)
            self._patience = self._limits.keep_alive_seconds
        if self._answered:
            await self._transport.finish(
                seconds=self._limits.drain_seconds, most=self._limits.drain_bytes
            )

    async def _next(self, rest: bytes) -> bytes | None:
        """Serves one request; what of the one after it has arrived, or None to close."""
        buffer = bytearray(rest)
        self._answered = False
        unread: Failure | None = None
        try:
            if not await self._read_head(buffer):
                return None
        except Failure as failure:
            unread = failure
        self._answered = True
        self._drops = self._service.idle.drops
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes)
        feed = Feed(parser)
        feed.add(bytes(buffer))
        exchange = HttpExchange(self._service, self._transport, feed)
        try:
            if unread is not None:
                raise unread
            return await self._handle(exchange, feed)
        except Failure as failure:
            exchange.close_after = True
            await exchange.refuse(failure)
            return None
        finally:
            exchange.log()

    async def _handle(self, exchange: HttpExchange, feed: Feed) -> bytes | None:
        request = _parsed(feed)
        exchange.note_method(request.method)
        target = heads.check_parsed(request)
        state = {**self._service.state, "request_id": exchange.request_id}
        scope = heads.http_scope(request, target, self._peers, state)
        exchange.accept(scope)
        if not heads.is_upgrade(request):
            return await self._serve(exchange, scope)
        handshake = check_handshake(request)
        _require_end(feed)
        heads.make_websocket(scope, handshake.offered)
        exchange.close_after = True
        await WebSocket(self._service, self._transport, exchange, scope, handshake).run()
        return None

    async def _read_head(self, buffer: bytearray) -> bool:
        """Reads until `buffer` holds a whole head; False where none comes.

        Raises `Failure` where it cannot become a good one, or not in time.
        """
        seconds = self._limits.header_seconds if buffer else self._patience
        with trio.move_on_after(seconds) as scope:
            with self._service.idle.waiting(scope, buffer, drops=self._drops):
                return await self._fill(buffer, scope)
        if buffer and not self._service.closing.is_set():
            raise RequestStalled(
                f"the request head was not complete after {self._limits.header_seconds:g} s"
            )
        return False

    async def _fill(self, buffer: bytearray, scope: trio.CancelScope) -> bool:
        # Requests that all lie in the buffer would otherwise be served without a break.
        await trio.lowlevel.checkpoint()
        seen = 0
        while True:
            while buffer.startswith(b"\r\n"):
                del buffer[:2]  # RFC 9112, section 2.2: some clients send one too many
            end = buffer.find(heads.END, max(0, seen - 3))
            heads.check_size(end if end >= 0 else len(buffer), self._limits.header_bytes)
            heads.check_lines(buffer, seen, end if end >= 0 else len(buffer))
            if end >= 0:
                heads.check_count(buffer, end)
                return True
            seen = len(buffer)
            data = await self._transport.receive()
            if not data:
                return False
            if not buffer:
                scope.deadline = trio.current_time() + self._limits.header_seconds
            buffer += data

    async def _serve(self, exchange: HttpExchange, scope: dict[str, Any]) -> bytes | None:
        app = self._service.app
        outcome = await guard.run(app, Exchange(scope, exchange.receive, exchange.send))
        if outcome.kind == "returned" and not exchange.complete and not exchange.gone:
            outcome = guard.incomplete(exchange.request_id)
        if outcome.failure is not None and not exchange.complete:
            await exchange.refuse(outcome.failure)
        if exchange.needs_reset:
            self._transport.reset()
        return await exchange.settle()


def _parsed(feed: Feed) -> h11.Request:
    """The request whose head stands at the front."""
    try:
        event = feed.next_event()
    except h11.RemoteProtocolError as error:
        raise Failure("bad_request", f"request head: {str(error)[:_SHOWN]}") from None
    if not isinstance(event, h11.Request):
        raise Failure("bad_request", "request head: not a request")
    return event


def _require_end(feed: Feed) -> None:
    if type(feed.next_event()) is not h11.EndOfMessage or feed.trailing:
        raise Failure("bad_request", "WebSocket: nothing may follow the handshake")

"""One HTTP request and its answer: ASGI messages on one side, h11 events on the other.

Belongs here: framing, reading the body on demand, noticing that the client left, answering
failures. Banned here: what connects requests (`connection`), WebSockets (`websocket`).

`receive` reads the socket itself, when it is asked: no task, channel or buffer stands between
the application and the client, and a body that nobody reads stays in the kernel.
"""

from __future__ import annotations

import http
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any, Final, cast

import h11
import trio

from hutch.server.access import log_request
from hutch.server.answers import failure_parts, new_request_id
from hutch.server.feed import Feed
from hutch.server.gone import AnswerBegun, ClientGone, RequestStalled
from hutch.server.service import Service
from hutch.server.streaming import BODY_FOLLOWS, FORWARDED, INFORMATIONAL, TRAILERS, Message
from hutch.server.transport import RECEIVE_BYTES, Transport
from hutch.wire.errors import Failure

_Event = h11.Data | h11.EndOfMessage

# The extension that tells whether the client is still there, without reading what it sent: for
# an application that cannot take more of the body just now.
IS_CONNECTED: Final = "hutch.is_connected"

_BODY_BYTES: Final = 256 * 1024
# One read may bring 40,000 chunks of one byte, a quarter of a second's work: others get a turn.
_EVENTS_A_TURN: Final = 64
# What the framing of a chunk takes at least: a digit and two line ends.
_CHUNK_COST: Final = 5
_REASONS: Final = {one.value: one.phrase.encode() for one in http.HTTPStatus}
_DISCONNECT: Final[Message] = {"type": "http.disconnect"}
_BODILESS: Final = frozenset({204, 304})


class HttpExchange:
    """A request under way, or one that could not even be read (`scope` is None then)."""

    def __init__(self, service: Service, transport: Transport, feed: Feed) -> None:
        self._service = service
        self._limits = service.limits
        self._transport = transport
        self._feed = feed
        self._parser = feed.parser
        self.scope: dict[str, Any] | None = None
        self.request_id = new_request_id()
        self._started = trio.current_time()
        self._stashed: _Event | None = None
        self._parsed_since_break = 0
        self._body_ended = False
        self._head: Message | None = None  # given by the application, not sent yet
        self._bodiless = False
        self._ending = False
        self._informed = False  # the client waits for 100, and got another 1xx
        self._trailing = False  # trailers follow the last piece of the body
        self.status = 0
        self.sent = 0
        self.begun = False
        self.complete = False
        self.gone = False
        self.close_after = False

    def note_method(self, method: bytes) -> None:
        """The request's head was read: to HEAD even a refusal of the head has no body."""
        self._bodiless = method == b"HEAD"

    def accept(self, scope: dict[str, Any]) -> None:
        """The request's head was found good."""
        self.scope = scope
        scope["extensions"][IS_CONNECTED] = self._transport.is_established
        if not any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            self._feed.expect_bytes()

    # -- reading ---------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The application's side of the request: its body, then whether the client left."""
        self.note_authenticated()
        message = _DISCONNECT
        if not self._ending:
            message = await (self._left() if self._body_ended else self._body())
        if self._ending and message is _DISCONNECT:
            # Quart cancels handlers on it, and this one is about to end anyway: not yet.
            await trio.sleep(self._limits.drain_seconds)
        return message

    async def _body(self) -> Message:
        event = await self._event()
        if event is None:
            return _DISCONNECT
        # Fewer messages, where more of them, or the end, has arrived with the first.
        pieces: list[bytes] = []
        while isinstance(event, h11.Data) and len(pieces) < _EVENTS_A_TURN:
            pieces.append(event.data)
            event = self._parsed()
        self._parsed_since_break += len(pieces)
        self._stashed = event
        self._body_ended = isinstance(event, h11.EndOfMessage)
        body = b"".join(pieces)
        message = {"type": "http.request", "body": body, "more_body": not self._body_ended}
        if isinstance(event, h11.EndOfMessage) and event.headers:
            message[TRAILERS] = event.headers.raw_items()
        return message

    async def _event(self) -> _Event | None:
        """The next part of the body, None where the client left. Raises `Failure`."""
        self._parsed_since_break += 1
        if self._parsed_since_break >= _EVENTS_A_TURN:
            self._parsed_since_break = 0
            await trio.lowlevel.checkpoint()
        event, self._stashed = self._stashed, None
        while (event := event or self._parsed()) is None:
            await self._continue()
            data = await self._more_body()
            if not data:
                self.gone = True
                return None
            self._feed.add(data)
        return event

    async def _more_body(self) -> bytes:
        """What comes next of the body; b"" where the client left. Raises `RequestStalled`.

        Once the answer has begun nobody need send the rest: who waits for 100 may never, and who
        speaks while he listens has his own pace. What the client takes is watched then.
        """
        while True:
            with trio.move_on_after(self._limits.body_idle_seconds):
                return await self._transport.receive(_BODY_BYTES)
            if not self.begun or self.complete:
                self.close_after = True
                raise RequestStalled(
                    "the request body stalled: nothing came for "
                    f"{self._limits.body_idle_seconds:g} s"
                )

    def _parsed(self) -> _Event | None:
        """The next part of the body, None where more of it has to arrive. Raises `Failure`."""
        try:
            event = self._feed.next_event()
        except h11.RemoteProtocolError as error:
            self.close_after = True
            raise Failure("bad_request", f"request body: {error}") from None
        return event if isinstance(event, (h11.Data, h11.EndOfMessage)) else None

    async def _continue(self) -> None:
        if self._owes_continue and not self.begun:
            self._informed = False
            answer = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await self._transport.send([self._parser.send(answer) or b""])

    @property
    def _owes_continue(self) -> bool:
        """Whether the client waits for 100. h11 thinks that any other 1xx has answered it."""
        return self._informed or self._parser.they_are_waiting_for_100_continue

    async def _left(self) -> Message:
        """Waits until the client leaves; a request that it sends meanwhile waits for its turn."""
        waiting = 0
        while waiting < RECEIVE_BYTES:
            data = await self._transport.receive()
            if not data:
                self.gone = True
                return _DISCONNECT
            waiting += len(data)
            self._feed.add(data)
        await self._transport.wait_gone()
        self.gone = True
        return _DISCONNECT

    def note_authenticated(self) -> None:
        """No stranger any more, where the application has let the request through."""
        if self.scope is not None and self.scope["state"].get("authenticated"):
            self._service.census.let_through(self._transport)

    # -- answering -------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """The application's side of the answer. Raises `ClientGone`, `AnswerBegun`."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._start(message)
        elif kind == "http.response.body":
            await self._piece(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.trailers":
            await self._trailers(message)
        elif kind == INFORMATIONAL:
            await self._inform(message)
        else:
            raise RuntimeError(f"no message for an HTTP answer: {kind}")

    async def _start(self, message: Message) -> None:
        if self.begun or self._head is not None:
            raise AnswerBegun(message["status"])
        self.note_authenticated()
        self.status = message["status"]
        self._trailing = message.get("trailers", False)
        self._head = message
        if not _is_piece_near(message):
            # A stream: its first piece may be long in coming, its head must not be.
            await self._transport.send([self._framed_head(message)])

    def _framed_head(self, message: Message) -> bytes:
        self._head = None
        forwarded: bytes | None = message.get(FORWARDED)
        headers = self._headers(message.get("headers", ()), forwarded=forwarded is not None)
        if not self._body_ended and self._announced() > self._limits.drain_bytes:
            # More than will be drained: the client must not count on this connection.
            self.close_after = True
        if self.close_after or self._service.closing.is_set():
            headers.append((b"connection", b"close"))
        reason = _REASONS.get(self.status, b"") if forwarded is None else forwarded
        head = h11.Response(status_code=self.status, headers=headers, reason=reason)
        framed = self._parser.send(head) or b""
        self.begun = True
        self._bodiless = self._bodiless or self.status in _BODILESS
        return framed

    def _announced(self) -> int:
        headers = () if self.scope is None else self.scope["headers"]
        return next((int(value) for name, value in headers if name == b"content-length"), 0)

    def _headers(
        self, given: Iterable[tuple[bytes, bytes]], *, forwarded: bool
    ) -> list[tuple[bytes, bytes]]:
        if forwarded:
            headers = list(given)
            names = {name.lower() for name, _ in headers}
        else:
            headers = [(name, value) for name, value in given if name != b"x-request-id"]
            names = {name for name, _ in headers}
        if b"date" not in names:
            headers.append((b"date", _date()))
        if b"x-request-id" not in names:
            headers.append((b"x-request-id", self.request_id.encode()))
        return headers

    async def switch(
        self, headers: Iterable[tuple[bytes, bytes]], *, forwarded: bytes | None = None
    ) -> None:
        """Answers 101: from here on the connection speaks another protocol.

        `forwarded` is the reason phrase where the answer is another server's.
        """
        self.status = 101
        self.note_authenticated()
        answer = h11.InformationalResponse(
            status_code=101,
            headers=self._headers(headers, forwarded=forwarded is not None),
            reason=_REASONS[101] if forwarded is None else forwarded,
        )
        framed = self._parser.send(answer) or b""
        self.begun = self._ending = True
        await self._transport.send([framed])

    async def _piece(self, body: bytes | memoryview, *, more: bool) -> None:
        if self.complete or (self._head is None and not self.begun):
            raise RuntimeError("a body where none is due")
        self._ending = not more
        last = not more and not self._trailing
        pieces = [] if self._head is None else [self._framed_head(self._head)]
        if body and not self._bodiless:
            data = h11.Data(data=cast(bytes, body))
            pieces += self._parser.send_with_data_passthrough(data) or ()
        if last:
            pieces += self._parser.send_with_data_passthrough(h11.EndOfMessage()) or ()
        await self._transport.send(pieces)
        if not self._bodiless:
            self.sent += len(body)
        if not last:
            # A socket that takes all at once and a source that always has more would
            # otherwise keep everybody else out.
            await trio.lowlevel.checkpoint()
        else:
            self.complete = True

    async def _trailers(self, message: Message) -> None:
        if not self._trailing or not self._ending or not self.begun or self.complete:
            raise RuntimeError("trailers where none are due")
        # Only a chunked body has a place for them.
        is_chunked = not self._bodiless and not self._is_close_delimited
        end = h11.EndOfMessage(headers=list(message["headers"]) if is_chunked else [])
        await self._transport.send(self._parser.send_with_data_passthrough(end) or ())
        self.complete = True

    async def _inform(self, message: Message) -> None:
        """An answer before the answer: 102, 103. HTTP/1.0 knows none."""
        if self.begun or self._head is not None or self._is_close_delimited:
            return
        self._informed = self._owes_continue
        answer = h11.InformationalResponse(
            status_code=message["status"],
            headers=list(message["headers"]),
            reason=message["reason"],
        )
        await self._transport.send([self._parser.send(answer) or b""])

    async def refuse(self, failure: Failure) -> None:
        """Answers with the error body, where nothing was sent yet; gives up quietly else."""
        self._head = None
        if self.begun:
            return
        status, headers, body = failure_parts(failure, self.request_id)
        headers.append((b"content-length", b"%d" % len(body)))
        try:
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})
        except ClientGone:
            self.gone = True

    # -- afterwards ------------------------------------------------------------------------

    async def settle(self) -> bytes | None:
        """What of the next request has arrived; None where the connection has to close."""
        if not self.complete:
            return None
        if self._parser.our_state is h11.DONE and not self.close_after:
            await self._drain()
        states = (self._parser.our_state, self._parser.their_state)
        if states != (h11.DONE, h11.DONE) or self.gone or self.close_after:
            return None
        return self._feed.trailing

    async def _drain(self) -> None:
        """Takes the rest of a body that nobody read, within bounds."""
        if self._body_ended or self._owes_continue:
            return
        try:
            self._stashed = self._stashed or self._parsed()
            if isinstance(self._stashed, h11.EndOfMessage):
                return  # there was none, most likely
            with trio.move_on_after(self._limits.drain_seconds):
                await self._swallow(self._limits.drain_bytes)
        except Failure:
            return  # the parser is in error now, so the connection closes

    async def _swallow(self, budget: int) -> None:
        while budget > 0 and self._parser.their_state is h11.SEND_BODY:
            event = await self._event()
            if event is None:
                return
            budget -= _CHUNK_COST
            budget -= len(event.data) if isinstance(event, h11.Data) else 0

    @property
    def needs_reset(self) -> bool:
        """Whether only a reset can tell the client that its answer is not complete.

        So it is where the end of the connection is the end of the body (HTTP/1.0).
        """
        return self.begun and not self.complete and self._is_close_delimited

    @property
    def _is_close_delimited(self) -> bool:
        return self.scope is not None and self.scope["http_version"] == "1.0"

    def log(self) -> None:
        """Writes the access log's line, and counts the request."""
        status = self.status if self.begun else 0
        log_request(
            self.scope,
            request_id=self.request_id,
            status=status,
            sent=self.sent,
            started=self._started,
        )
        if self._service.figures is not None:
            seconds = trio.current_time() - self._started
            self._service.figures.count(self.scope, status=status, sent=self.sent, seconds=seconds)


def _is_piece_near(message: Message) -> bool:
    follows: bool | None = message.get(BODY_FOLLOWS)
    if follows is not None:
        return follows
    if message["status"] in _BODILESS:
        return True
    return any(name == b"content-length" for name, _ in message.get("headers", ()))


_dates: dict[int, bytes] = {}


def _date() -> bytes:
    now = int(time.time())
    found = _dates.get(now)
    if found is None:
        _dates.clear()
        found = _dates[now] = formatdate(now, usegmt=True).encode()
    return found

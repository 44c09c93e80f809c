"""One HTTP exchange with an upstream: the body goes up while the answer comes down.

Belongs here: h11 on the upstream's side, ASGI's messages on ours, and who waits for whom. Banned
here: choosing the connection (`forwarder`), editing heads (`heads`).

Two tasks: one takes the request's body from the client and sends it on, then waits for the client
to leave; the other reads the answer and sends it to the client. Each reads a piece when the last
one was taken, so that the slower end sets the pace. The answer decides: once it is complete,
what is left of the body goes nowhere.
"""

from __future__ import annotations

from typing import Any, Final

import h11
import trio

from hutch.forward.bounds import Bounds
from hutch.forward.failures import Broken
from hutch.forward.heads import Edit, Headers, Incoming, end_to_end, trailers, without
from hutch.forward.link import Link
from hutch.server.exchange import IS_CONNECTED
from hutch.server.feed import Feed
from hutch.server.gone import ClientGone
from hutch.server.streaming import BODY_FOLLOWS, FORWARDED, INFORMATIONAL, TRAILERS, Exchange
from hutch.wire.errors import Failure

# As long as curl waits, and Go: not everybody answers an `Expect`.
_CONTINUE_SECONDS: Final = 1.0
_MOST_INFORMATIONAL: Final = 32
# One read may bring 40,000 chunks of one byte; sent one by one they cost 60 microseconds each.
_CHUNKS_A_TURN: Final = 64
_SHOWN: Final = 100
_CONTINUE: Final = 100

_Event = h11.Data | h11.EndOfMessage


class Passage:
    """The request and its answer, on a connection of which nobody else reads or writes."""

    def __init__(self, exchange: Exchange, asked: Incoming, link: Link, limits: Bounds) -> None:
        self._exchange = exchange
        self._asked = asked
        self._link = link
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.header_bytes)
        self._feed = Feed(self._parser)
        self._prefix = "websocket." if exchange.scope["type"] == "websocket" else ""
        self._is_wanted = exchange.scope.get("extensions", {}).get(IS_CONNECTED, lambda: True)
        self._may_send_body = trio.Event()
        self._raised: Exception | None = None
        self.has_heard = False  # a byte of the answer came

    @property
    def has_sent(self) -> bool:
        """Whether the upstream may have seen anything of the request."""
        return self._link.has_sent

    @property
    def rest(self) -> bytes:
        """What came after the upstream's 101."""
        return self._feed.trailing

    @property
    def is_reusable(self) -> bool:
        """Whether the connection may carry another request: this one ended on both sides."""
        states = (self._parser.our_state, self._parser.their_state)
        return states == (h11.DONE, h11.DONE) and not self._feed.trailing

    async def run(self, request: h11.Request, edit: Edit) -> None:
        """Carries both. Raises `Broken`, `Silent`, `ClientGone`, and what the client's side and
        the edit raise, unwrapped.
        """
        await self.send_head(request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guarded, self._upload, nursery.cancel_scope)
            try:
                await self._download(edit)
            except Exception as error:
                # Whatever it is, the nursery must not wrap it: the caller knows its edit's own.
                self._raised = self._raised or error
            nursery.cancel_scope.cancel()
        raised, self._raised = self._raised, None
        if raised is not None:
            try:
                raise raised
            finally:
                del raised  # its traceback has this frame, which has it

    async def _guarded(self, work: Any, both: trio.CancelScope) -> None:
        try:
            await work()
        except (ClientGone, Failure) as error:
            self._raised = self._raised or error
            both.cancel()

    # -- upwards ---------------------------------------------------------------------------

    async def send_head(self, request: h11.Request) -> None:
        """Sends the head, and with it the end of a message without a body."""
        pieces = [self._parser.send(request) or b""]
        if not self._asked.has_body:
            pieces.append(self._parser.send(h11.EndOfMessage()) or b"")
        try:
            await self._link.send(pieces, is_wanted=self._is_wanted)
        except Broken:
            if not self._link.has_sent:
                raise
            # It may have answered before it closed.

    async def _upload(self) -> None:
        if self._asked.has_body:
            if self._asked.expects_continue:
                with trio.move_on_after(_CONTINUE_SECONDS):
                    await self._may_send_body.wait()
            try:
                await self._send_body()
            except Broken:
                return  # what the upstream says to it, the answer tells
        while True:
            self._require_there(await self._exchange.receive())

    async def _send_body(self) -> None:
        more = True
        while more:
            message = self._require_there(await self._exchange.receive())
            more = message.get("more_body", False)
            pieces: list[bytes] = []
            if message.get("body"):
                data = h11.Data(data=message["body"])
                pieces += self._parser.send_with_data_passthrough(data) or ()
            if not more:
                end = h11.EndOfMessage(headers=self._trailers(message))
                pieces += self._parser.send_with_data_passthrough(end) or ()
            await self._link.send(pieces, is_wanted=self._is_wanted)
            # Where both ends are quick nothing else ever waits.
            await trio.lowlevel.checkpoint()

    def _trailers(self, message: Any) -> Headers:
        return trailers(message.get(TRAILERS, [])) if self._asked.is_chunked else []

    def _require_there(self, message: Any) -> Any:
        if message["type"].endswith(".disconnect"):
            raise ClientGone("the client left")
        return message

    # -- downwards -------------------------------------------------------------------------

    async def _download(self, edit: Edit) -> None:
        head = await self.response()
        if isinstance(head, h11.InformationalResponse):
            # Never: h11 takes no 101 to a request that asked for none.
            raise Broken("it switched protocols unasked")
        await self.answer(head, edit)

    async def response(self) -> h11.Response | h11.InformationalResponse:
        """The head of the answer, or 101; informational ones before it are passed on."""
        for _ in range(_MOST_INFORMATIONAL):
            head = await self._head()
            if isinstance(head, h11.Response) or head.status_code == 101:  # noqa: PLR2004
                self._may_send_body.set()
                return head
            if head.status_code == _CONTINUE:
                self._may_send_body.set()
            elif not self._prefix:
                await self._exchange.send(
                    {
                        "type": INFORMATIONAL,
                        "status": head.status_code,
                        "headers": end_to_end(head.headers.raw_items()),
                        "reason": bytes(head.reason),
                    }
                )
        raise Broken(f"over {_MOST_INFORMATIONAL} informational answers")

    async def _head(self) -> h11.Response | h11.InformationalResponse:
        while True:
            event = self._next()
            if isinstance(event, (h11.Response, h11.InformationalResponse)):
                if not event.http_version.startswith(b"1."):
                    raise Broken("no good HTTP: another version")
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise Broken("the connection was closed without an answer")
            self._feed.add(await self._receive())

    async def _receive(self) -> bytes:
        data = await self._link.receive()
        self.has_heard = self.has_heard or bool(data)
        return data

    def _next(self) -> Any:
        try:
            return self._feed.next_event()
        except h11.RemoteProtocolError as error:
            raise Broken(f"no good HTTP: {str(error)[:_SHOWN]}") from None

    async def answer(self, head: h11.Response, edit: Edit) -> None:
        """Passes the answer on, from its head to its end."""
        given = head.headers.raw_items()
        kept = end_to_end(given)
        is_chunked = any(name.lower() == b"transfer-encoding" for name, _ in given)
        if is_chunked:
            # RFC 9112, section 6.3: beside chunks it counts for nothing.
            kept = without(kept, {b"content-length"})
        else:
            self._feed.expect_bytes()
        event = self._body_event()
        await self._send(
            "start",
            status=head.status_code,
            headers=edit.answer(head.status_code, kept),
            trailers=is_chunked,
            **{BODY_FOLLOWS: event is not None, FORWARDED: bytes(head.reason)},
        )
        await self._body(event, has_trailers=is_chunked)

    async def _body(self, event: _Event | None, *, has_trailers: bool) -> None:
        while True:
            if event is None:
                self._feed.add(await self._receive())
                event = self._body_event()
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                data, event = await self._gather(event)
                if isinstance(event, h11.EndOfMessage):
                    await self._end(event, data, has_trailers=has_trailers)
                    return
                await self._send("body", body=data, more_body=True)
        await self._end(event, b"", has_trailers=has_trailers)

    async def _end(self, end: h11.EndOfMessage, data: bytes, *, has_trailers: bool) -> None:
        await self._send("body", body=data, more_body=False)
        if has_trailers:
            await self._send("trailers", headers=trailers(end.headers.raw_items()))

    async def _gather(self, data: h11.Data) -> tuple[bytes, _Event | None]:
        """The data that is there already, and what follows it.

        Data is passed on even where what follows is no HTTP.
        """
        pieces: list[bytes] = []
        event: _Event | None = data
        try:
            while isinstance(event, h11.Data) and len(pieces) < _CHUNKS_A_TURN:
                pieces.append(event.data)
                event = self._body_event()
        except Broken:
            await self._send("body", body=b"".join(pieces), more_body=True)
            raise
        return b"".join(pieces), event

    def _body_event(self) -> _Event | None:
        """The next part of the answer's body, None where more has to come. Raises `Broken`."""
        event = self._next()
        if isinstance(event, h11.ConnectionClosed):
            raise Broken("the connection was closed in the middle of the answer")
        return event if isinstance(event, (h11.Data, h11.EndOfMessage)) else None

    async def _send(self, kind: str, **parts: Any) -> None:
        await self._exchange.send({"type": f"{self._prefix}http.response.{kind}", **parts})

"""Answers that leave piece by piece: the only owner of a stream's life.

Belongs here: `Exchange`, `Source`, and `respond`, which alone decides about the disconnect, the
sign of life, the error line and the last chunk that is missing. Banned here: what the bytes
mean; sockets and their deadlines (`transport`). Source: wire contract, section 1, "a stream
that cannot be completed" and "a client that goes away".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import trio

from hutch.server.gone import ClientGone
from hutch.wire.errors import Failure

# In the message that starts an answer: its first piece follows at once, so that our server may
# put both into one packet; False: the head leaves at once, even where a length is known. Other
# servers skip what they don't know.
BODY_FOLLOWS: Final = "hutch.body_follows"
# In the same message: the head is another server's, passed on, and this is its reason phrase. Its
# names keep their case, and an `X-Request-ID` or `Date` of its own counts.
FORWARDED: Final = "hutch.forwarded"
# A message for `send`, before the answer: an informational one, with `status`, `headers`, `reason`.
INFORMATIONAL: Final = "hutch.response.informational"
# In the last message of a request's body: its trailers, names in their own case. ASGI has no place
# for them.
TRAILERS: Final = "hutch.trailers"

# ASGI's messages: each framework types them its own way.
Message = Any
Trailers = Callable[[], Sequence[tuple[bytes, bytes]]]

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as ASGI hands it over: its scope, and the two ways to talk."""

    scope: Any
    receive: Callable[[], Awaitable[Message]]
    send: Callable[[Message], Awaitable[None]]


class Source(Protocol):
    """Where a stream's batches come from."""

    async def pull(self) -> bytes | memoryview | None:
        """The next batch, None at the end. May be cancelled while it waits, losing nothing.

        Raises `Failure` where the stream cannot be completed.
        """
        ...

    def stop(self) -> None:
        """Ends the work and frees what it held; may be called more than once."""
        ...


async def respond(
    exchange: Exchange,
    *,
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    source: Source,
    keepalive: bytes | None = None,
    keepalive_after: float = 15.0,
    error_line: Callable[[Failure], bytes] | None = None,
    trailers: Trailers | None = None,
) -> None:
    """Answers with the batches of `source`, each pulled when the socket took the last one.

    The first batch is pulled before the answer starts, so that a source that fails at once
    gives a proper error answer: its `Failure` is raised. After `keepalive_after` seconds without
    a batch `keepalive` is sent, where given, and starts the answer if need be; one that is a
    line never goes into another that is half sent. A source that fails later has its
    `error_line` sent, on a line of its own, and the connection closed without the final chunk (by
    raising `AnswerBegun` or the source's own error to the server). `trailers` are asked for once
    the source is complete, and sent behind the last chunk where the server can. The client going
    away cancels the pull and returns. `source.stop()` is always called. What of the request body
    nobody has read by then is dropped.
    """
    stream = _Stream(exchange, status, headers, keepalive, keepalive_after)
    try:
        if exchange.scope["method"] == "HEAD":
            await _watched(exchange, lambda: stream.head(source))
        else:
            can_trail = "http.response.trailers" in exchange.scope.get("extensions", ())
            await _watched(exchange, lambda: stream.carry(source, trailers if can_trail else None))
    except Failure as failure:
        if stream.begun and error_line is not None:
            await stream.send((b"" if stream.line_begins else b"\n") + error_line(failure))
        raise
    finally:
        source.stop()


async def _watched(exchange: Exchange, work: Callable[[], Awaitable[None]]) -> None:
    """Runs `work` until it ends or the client goes; raises what it raised, unwrapped.

    The reader must always be there: a handler that does not read never sees the disconnect.
    """
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_gone, exchange, nursery.cancel_scope)
        try:
            await work()
        except (Failure, ClientGone) as error:
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        try:
            raise raised
        finally:
            # Its traceback has this frame, which has it: a ring that would keep the source, and
            # the descriptors in it, until the next collection.
            del raised


async def _until_gone(exchange: Exchange, scope: trio.CancelScope) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass  # a body nobody asked for
    scope.cancel()


class _Stream:
    """The answer under way.

    `begun` once anything of it was sent; `line_begins` where what was sent ends with a line.
    """

    def __init__(
        self,
        exchange: Exchange,
        status: int,
        headers: Sequence[tuple[bytes, bytes]],
        keepalive: bytes | None,
        keepalive_after: float,
    ) -> None:
        self._send = exchange.send
        self._start: dict[str, object] = {
            "type": "http.response.start",
            "status": status,
            "headers": list(headers),
            BODY_FOLLOWS: True,
        }
        self._keepalive = keepalive
        self._keepalive_after = keepalive_after
        self.begun = False
        self.line_begins = True

    async def carry(self, source: Source, trailers: Trailers | None) -> None:
        """From the first batch to the last chunk, and the trailers behind it."""
        if trailers is not None:
            self._start["trailers"] = True
        while (batch := await self._next(source)) is not None:
            await self.send(batch)
        await self.end()
        if trailers is not None:
            await self._send({"type": "http.response.trailers", "headers": [*trailers()]})

    async def head(self, source: Source) -> None:
        """The answer to HEAD: the first batch is pulled, since it may be a failure."""
        await source.pull()
        await self.end()

    async def _next(self, source: Source) -> bytes | memoryview | None:
        if self._keepalive is None:
            return await source.pull()
        while True:
            deadline = trio.current_time() + self._keepalive_after
            with trio.CancelScope(deadline=deadline):
                return await source.pull()
            # A batch may be a part of a long line, which a line inside would break.
            if self.line_begins or not self._keepalive.endswith(b"\n"):
                await self.send(self._keepalive)

    async def send(self, batch: bytes | memoryview, *, more: bool = True) -> None:
        if not self.begun:
            self.begun = True
            await self._send(self._start)
        if batch:
            self.line_begins = batch[-1:] == b"\n"
        await self._send({"type": "http.response.body", "body": batch, "more_body": more})

    async def end(self) -> None:
        await self.send(b"", more=False)

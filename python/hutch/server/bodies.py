"""Request bodies as they arrive, for raw ASGI: the next chunk is read when asked for.

Belongs here: `Body`. Banned here: what is done with the bytes. Nothing is buffered: a chunk
is what one read of the socket gave, and while nobody pulls, nobody reads, so that TCP slows
the client down.
"""

from __future__ import annotations

import trio

from hutch.server.gone import ClientGone, RequestStalled
from hutch.server.streaming import Exchange
from hutch.wire.config import ApiLimits, ServerLimits
from hutch.wire.errors import Failure


class Body:
    """The body of one request."""

    def __init__(self, exchange: Exchange, limits: ServerLimits) -> None:
        self._receive = exchange.receive
        self._idle_seconds = limits.body_idle_seconds
        self._complete = False

    async def pull(self) -> bytes | None:
        """The next chunk, never empty; None once the body is complete, and ever after.

        Raises `ClientGone` where the client leaves before the end (what was received must not
        be taken for the whole), `Failure` (timeout, 408) where nothing arrives for
        `body_idle_seconds`, `Failure` (bad_request) where the framing is wrong.
        """
        while not self._complete:
            with trio.move_on_after(self._idle_seconds) as scope:
                message = await self._receive()
            if scope.cancelled_caught:
                raise RequestStalled(
                    f"the request body stalled: nothing came for {self._idle_seconds:g} s"
                )
            if message["type"] == "http.disconnect":
                raise ClientGone("the client left in the middle of its request body")
            self._complete = not message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            if chunk:
                return chunk
        return None


async def read_body(exchange: Exchange, limits: ApiLimits, most: int | None = None) -> bytes:
    """A small body, whole: at most `most` bytes, else `body_bytes`.

    Raises as `Body.pull` does, and `Failure` (too_large).
    """
    limit = limits.body_bytes if most is None else most
    body, found = Body(exchange, limits), bytearray()
    while (chunk := await body.pull()) is not None:
        found += chunk
        if len(found) > limit:
            raise Failure("too_large", f"body: over {limit} bytes, the most that is taken at once")
    return bytes(found)

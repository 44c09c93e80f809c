"""The door of the room: one request of ours, carried to its upstream.

Belongs here: which connection is used, and whether a request is sent a second time. Banned here:
bytes (`passage`, `splice`). A request that may change something never travels on a connection
that was used before: such a connection may be closing just now, and whoever then sends again may
run something twice. What changes nothing and has no body is sent once more, on a new one.
"""

from __future__ import annotations

from hutch.forward.bounds import Bounds
from hutch.forward.ending import Ending
from hutch.forward.failures import Broken, Silent, broken, silent
from hutch.forward.heads import Edit, Incoming, incoming, outgoing
from hutch.forward.link import Link, Upstream, dial
from hutch.forward.passage import Passage
from hutch.forward.pool import Pool
from hutch.forward.upgrade import Upgrade
from hutch.server.streaming import Exchange


class Forwarder:
    """Carries requests; `kept` has the connections that may be used again (None: none are)."""

    def __init__(self, limits: Bounds, *, kept: Pool | None = None) -> None:
        self._limits = limits
        self._kept = kept

    async def carry(
        self, exchange: Exchange, upstream: Upstream, edit: Edit, *, ending: Ending | None = None
    ) -> None:
        """Passes one request, or one WebSocket, on; returns when all of it is over.

        `ending` is the owner's handle on a WebSocket; HTTP he ends by cancelling. Raises `Failure`
        (with `may_have_arrived`) where the upstream fails: before the answer has begun it is to be
        answered, afterwards the answer stays unfinished. Raises `ClientGone` where the client left;
        the upstream's connection is then closed. What `edit` raises passes.
        """
        asked = incoming(exchange.scope)
        if exchange.scope["type"] == "websocket":
            await Upgrade(exchange, asked, self._limits).run(upstream, edit, ending or Ending())
            return
        if asked.is_repeatable and await self._on_kept(exchange, asked, upstream, edit):
            return
        link = await dial(
            upstream,
            seconds=self._limits.connect_seconds,
            idle_seconds=self._limits.upstream_idle_seconds,
        )
        await self._pass(link, exchange, asked, upstream, edit)

    async def _on_kept(
        self, exchange: Exchange, asked: Incoming, upstream: Upstream, edit: Edit
    ) -> bool:
        """Tries a connection that was used before; False where there is none, or it was dead."""
        link = None
        if self._kept is not None and upstream.key is not None:
            link = self._kept.take(upstream.key)
        if link is None:
            return False
        link.forget()
        return await self._pass(link, exchange, asked, upstream, edit, may_repeat=True)

    async def _pass(
        self,
        link: Link,
        exchange: Exchange,
        asked: Incoming,
        upstream: Upstream,
        edit: Edit,
        *,
        may_repeat: bool = False,
    ) -> bool:
        keeps = self._kept is not None and upstream.key is not None
        generation = 0 if self._kept is None else self._kept.generation
        passage = Passage(exchange, asked, link, self._limits)
        try:
            await passage.run(outgoing(asked, edit.request(asked.head), keep=keeps), edit)
            if self._kept is not None and upstream.key is not None and passage.is_reusable:
                self._kept.give(upstream.key, link, generation=generation)
                link = None  # type: ignore[assignment]  # the pool's now
        except Broken as error:
            if may_repeat and not passage.has_heard:
                return False
            raise broken(upstream.name, error, arrived=passage.has_sent) from None
        except Silent as error:
            raise silent(upstream.name, error) from None
        finally:
            if link is not None:
                link.close()
        return True

"""One WebSocket passed on: its handshake with the upstream, and what comes of it.

Belongs here: dialling for it, the handshake, a refusal. Banned here: bytes after 101 (`splice`).
"""

from __future__ import annotations

import h11
import trio

from hutch.forward.bounds import Bounds
from hutch.forward.ending import Ending
from hutch.forward.failures import Broken, Silent, broken, silent
from hutch.forward.heads import Edit, Headers, Incoming, end_to_end, upgrading
from hutch.forward.link import Link, Upstream, dial
from hutch.forward.passage import Passage
from hutch.forward.splice import Splice
from hutch.server.streaming import Exchange
from hutch.server.tunnel import TUNNEL, Tunnel
from hutch.wire.errors import Failure

_SWITCHED: Headers = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]


class Upgrade:
    """One WebSocket on its way through."""

    def __init__(self, exchange: Exchange, asked: Incoming, limits: Bounds) -> None:
        self._exchange = exchange
        self._asked = asked
        self._limits = limits
        self._link: Link | None = None
        self._passage: Passage | None = None
        self._switched: h11.InformationalResponse | None = None
        self._raised: Exception | None = None

    async def run(self, upstream: Upstream, edit: Edit, ending: Ending) -> None:
        """Until both ends are done. Raises as `Forwarder.carry` does."""
        tunnel: Tunnel | None = self._exchange.scope.get("extensions", {}).get(TUNNEL)
        if tunnel is None:
            raise Failure("unsupported", "under this server no WebSocket is passed on")
        await tunnel.take()
        try:
            await self._until_answered(tunnel, upstream, edit)
            if self._switched is not None:
                await self._speak(tunnel, self._switched, edit, ending)
        finally:
            if self._link is not None:
                self._link.close()

    async def _until_answered(self, tunnel: Tunnel, upstream: Upstream, edit: Edit) -> None:
        """Dials and shakes hands, while somebody looks whether the client is still there."""
        raised: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, tunnel, nursery.cancel_scope)
            try:
                await self._shake_hands(upstream, edit)
            except Broken as error:
                arrived = self._link is not None and self._link.has_sent
                raised = broken(upstream.name, error, arrived=arrived)
            except Silent as error:
                raised = silent(upstream.name, error)
            except Exception as error:
                # Whatever it is, the nursery must not wrap it: the caller knows its edit's own.
                raised = error
            nursery.cancel_scope.cancel()
        if raised is not None:
            try:
                raise raised
            finally:
                del raised  # its traceback has this frame, which has it

    async def _shake_hands(self, upstream: Upstream, edit: Edit) -> None:
        """The answer is 101, and then `_switched`; or it is another, and passed on whole."""
        request = upgrading(edit.request(self._asked.head))
        self._link = await dial(
            upstream,
            seconds=self._limits.connect_seconds,
            idle_seconds=self._limits.upstream_idle_seconds,
        )
        self._passage = Passage(self._exchange, self._asked, self._link, self._limits)
        await self._passage.send_head(request)
        head = await self._passage.response()
        if isinstance(head, h11.InformationalResponse):
            self._switched = head
        else:
            await self._passage.answer(head, edit)

    async def _speak(
        self, tunnel: Tunnel, head: h11.InformationalResponse, edit: Edit, ending: Ending
    ) -> None:
        assert self._link is not None and self._passage is not None  # noqa: S101  # for mypy
        headers = edit.answer(head.status_code, end_to_end(head.headers.raw_items()))
        await tunnel.switch([*headers, *_SWITCHED], reason=bytes(head.reason))
        splice = Splice(tunnel, self._link, ending, seconds=self._limits.drain_seconds)
        await splice.run(self._passage.rest)


async def _cancel_when_gone(tunnel: Tunnel, scope: trio.CancelScope) -> None:
    await tunnel.wait_gone()
    scope.cancel()

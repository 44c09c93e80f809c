"""What gateways are told: routes, changes, keys.

Belongs here: answers for gateways. Banned here: anything for clients; the credential (`http`).
Source: wire contract, section 9, "a second listener".
"""

from __future__ import annotations

from functools import partial

import trio

from hutch.control import rules
from hutch.control.registry import Registry
from hutch.control.signing import Signing
from hutch.control.store import changes
from hutch.wire.control.gateways import ChangesAnswer, ChangesQuery, KeysAnswer, RouteAnswer


class Gateways:
    """The side of the control plane that gateways see."""

    def __init__(self, registry: Registry, signing: Signing) -> None:
        self._registry = registry
        self._signing = signing
        self._closing = False

    async def route(self, identifier: str) -> RouteAnswer:
        """Where a workspace is and who may reach it. Raises `Failure` (not_found)."""
        record = await self._registry.get(identifier)
        if record.wanted == "deleted":
            raise rules.missing(identifier)
        return RouteAnswer(
            workspace_id=record.id,
            address=record.ip,
            port=record.port,
            token=self._registry.token(record),
            generation=record.generation,
            enabled=record.enabled,
            running=record.is_running,
            public_access=record.policy.public_access,
        )

    async def changes(self, asked: ChangesQuery) -> ChangesAnswer:
        """What changed after a number; waits for the first change, if there is none yet."""
        seconds = min(asked.wait, self._registry.limits.wait_seconds)
        deadline = trio.current_time() + seconds
        while True:
            written = self._registry.store.written
            found = await self._registry.store.read(partial(changes.since, seq=asked.since))
            if found.workspaces is None:
                return ChangesAnswer(seq=found.seq, reset=True)
            late = trio.current_time() >= deadline
            if found.workspaces or found.seq != asked.since or late or self._closing:
                return ChangesAnswer(seq=found.seq, workspaces=found.workspaces)
            with trio.move_on_at(deadline):
                await written.wait()

    def close(self) -> None:
        """Answers all who wait, and waits for nobody from here on."""
        self._closing = True
        self._registry.store.wake()

    async def keys(self) -> KeysAnswer:
        """The public keys."""
        return await self._signing.public()

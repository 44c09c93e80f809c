"""Keeping what is so as it should be: after a start, and when something ends by itself.

Belongs here: when to bring about what is on record without anybody asking. Banned here: how.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from hutch.control.registry import Registry
from hutch.control.store import workspaces
from hutch.wire.errors import Failure

_log: Final = logging.getLogger("hutch.control")

_AT_ONCE: Final = 4
_FIRST_SECONDS: Final = 0.2
# One that has run for so long did not fail to start.
_SETTLED_SECONDS: Final = 60.0


class Upkeep:
    """Brings workspaces to what is on record, again and again where it must."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lane = trio.CapacityLimiter(_AT_ONCE)
        # Whether something was told of it meanwhile, so that it must be looked at once more.
        self._under_way: dict[str, bool] = {}
        self._pauses: dict[str, tuple[float, float]] = {}

    async def run(self) -> None:
        """Everything on record first, then whatever is told of; until cancelled."""
        async with trio.open_nursery() as nursery:
            for record in await self._registry.store.read(workspaces.every):
                self._begin(nursery, record.id, pause=0.0)
            nursery.start_soon(self._listen, nursery, self._registry.driver.lost)
            nursery.start_soon(self._listen, nursery, self._registry.next_unsettled)

    async def _listen(self, nursery: trio.Nursery, wait: Callable[[], Awaitable[str]]) -> None:
        while True:
            identifier = await wait()
            self._begin(nursery, identifier, pause=self._next_pause(identifier))

    def _next_pause(self, identifier: str) -> float:
        """How long to wait: none for the first time, longer where it happens again and again."""
        now = trio.current_time()
        pause, when = self._pauses.pop(identifier, (0.0, now))
        pause = 0.0 if now - when > _SETTLED_SECONDS else pause
        following = min(max(pause * 2, _FIRST_SECONDS), self._registry.limits.revive_seconds)
        self._pauses[identifier] = following, now
        return pause

    def _begin(self, nursery: trio.Nursery, identifier: str, *, pause: float) -> None:
        if identifier in self._under_way:
            self._under_way[identifier] = True
        else:
            self._under_way[identifier] = False
            nursery.start_soon(self._settle, identifier, pause)

    async def _settle(self, identifier: str, pause: float) -> None:
        try:
            await trio.sleep(pause)
            while not await self._settled(identifier) or self._under_way[identifier]:
                self._under_way[identifier] = False
                pause = min(max(pause * 2, _FIRST_SECONDS), self._registry.limits.revive_seconds)
                await trio.sleep(pause)
        finally:
            del self._under_way[identifier]

    async def _settled(self, identifier: str) -> bool:
        try:
            async with self._lane, self._registry.turn(identifier) as record:
                if record.made != "failed":
                    await self._registry.bring_about(record)
        except Failure as failure:
            if failure.code == "not_found":
                self._pauses.pop(identifier, None)
                return True
            _log.warning("%s: %s; it will be tried again", identifier, failure.message)
            return False
        except Exception:  # one workspace's bug is not the others' end
            _log.exception("%s: an unexpected error; it will be tried again", identifier)
            return False
        return True

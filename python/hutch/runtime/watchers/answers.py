"""What has changed since: the answer as it leaves, once there is one.

Belongs here: waiting for a change, the bytes. Banned here: HTTP.
Source: wire contract, section 6.
"""

from __future__ import annotations

from typing import Final

import trio

from hutch.runtime.watchers.watching import Watching
from hutch.wire.watchers import changes_bytes

# Of one answer; it is put together in Python.
_ANSWER_BYTES: Final = 512 * 1024


class ChangesSource:
    """A finished `wire.watchers.Changes`, as a `Source` of one batch.

    It comes once there is something to tell, the time is up, or the watcher has ended.
    """

    def __init__(self, watching: Watching, since: int, wait: float) -> None:
        self._watching = watching
        self._since = since
        self._deadline = trio.current_time() + wait
        self._is_told = False

    async def pull(self) -> bytes | None:
        """The answer; None after it."""
        if self._is_told:
            return None
        with trio.CancelScope(deadline=self._deadline):
            while self._is_waiting():
                await self._watching.moved.wait()
        self._is_told = True
        # Asked first: the last event comes before the end.
        active = self._watching.is_active and not self._watching.is_forgotten
        fresh, seq, more, events = self._watching.native.since(self._since, _ANSWER_BYTES)
        return changes_bytes(fresh=fresh, active=active, seq=seq, more=more, events=events)

    def _is_waiting(self) -> bool:
        one = self._watching
        return one.native.seq() == self._since and one.is_active and not one.is_forgotten

    def stop(self) -> None:
        """Nothing is held."""

"""Who may wait how long for a client that takes nothing.

Belongs here: the deadlines of sends that wait, kept for all connections together. Banned here:
sockets. Source: wire contract, section 1, "a client that stalls".

The invariant: `_early` holds exactly as many of the longest-stalled as there are above the
bound, and `_patient` the rest, both in the order in which they stalled. Entering and leaving
move at most one of them across, so that ten thousand stalled readers cost no scan.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from hutch.wire.config import ServerLimits


class Stalls:
    """The sends that wait just now."""

    def __init__(self, limits: ServerLimits) -> None:
        self._most = limits.stalled_responses
        self._idle_seconds = limits.send_idle_seconds
        self._grace_seconds = min(limits.stalled_grace_seconds, limits.send_idle_seconds)
        # How often to look for progress: deadlines are late by at most this.
        self.look_seconds = self._grace_seconds / 40
        self._early: OrderedDict[trio.CancelScope, float] = OrderedDict()
        self._patient: OrderedDict[trio.CancelScope, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._early) + len(self._patient)

    @contextmanager
    def waiting(self) -> Iterator[trio.CancelScope]:
        """A scope that is cancelled when this send has waited for too long."""
        since = trio.current_time()
        with trio.CancelScope(deadline=since + self._idle_seconds) as scope:
            self._enter(scope, since)
            try:
                yield scope
            finally:
                self._leave(scope)

    def _enter(self, scope: trio.CancelScope, since: float) -> None:
        self._patient[scope] = since
        if len(self) > self._most:
            oldest, its_since = self._patient.popitem(last=False)
            self._early[oldest] = its_since
            oldest.deadline = its_since + self._grace_seconds

    def _leave(self, scope: trio.CancelScope) -> None:
        if self._early.pop(scope, None) is not None:
            return
        del self._patient[scope]
        if self._early:
            youngest, its_since = self._early.popitem()
            youngest.deadline = its_since + self._idle_seconds
            self._patient[youngest] = its_since
            self._patient.move_to_end(youngest, last=False)

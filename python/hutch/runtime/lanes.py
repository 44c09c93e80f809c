"""Lanes: blocking work in threads, so many at a time of each kind.

Belongs here: `Lane`, `Lanes`. Banned here: what the work is. Trio's one default limiter let 45
blocked reads stop everything else for seconds; a lane a kind keeps them apart. Work that
changes something is never abandoned; work that only looks may be, since a mount that hangs
would otherwise hold its caller, and the end of the server, for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import outcome
import trio

from hutch._native import Stop, may_hang

T = TypeVar("T")


class Lane:
    """At most `width` threads of one kind of blocking work."""

    def __init__(self, width: int) -> None:
        self._limiter = trio.CapacityLimiter(width)

    async def run(self, work: Callable[[], T]) -> T:
        """Runs short blocking work to its end, whoever goes away meanwhile."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)

    async def look(self, work: Callable[[Stop], T]) -> T:
        """Runs work that changes nothing; a cancelled caller sets the flag and leaves it.

        The thread keeps its place in the lane until the work ends, and drops the result.
        """
        stop = Stop()
        try:
            return await trio.to_thread.run_sync(
                work, stop, limiter=self._limiter, abandon_on_cancel=True
            )
        except trio.Cancelled:
            stop.set()
            raise

    async def run_stoppable(self, work: Callable[[Stop], T]) -> T:
        """Runs work that looks at its flag; a cancelled caller sets the flag and waits.

        `work` raises InterruptedError once the flag is set; the caller sees its own
        cancellation instead.
        """
        stop = Stop()
        finished = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_when_cancelled, stop, finished)
            with trio.CancelScope(shield=True):
                # Captured: a nursery would wrap in a group what is raised inside of it.
                result = await trio.to_thread.run_sync(
                    outcome.capture, work, stop, limiter=self._limiter
                )
            finished.set()
        return result.unwrap()


class Lanes:
    """Two lanes of one kind of work on files: for what lies on disks, and for what a network or
    a program answers for, so that a mount that hangs takes no thread of the others.
    """

    def __init__(self, width: int) -> None:
        self._near = Lane(width)
        self._far = Lane(width)

    def of(self, *paths: bytes) -> Lane:
        """The lane for work on absolute paths."""
        return self._far if any(may_hang(path) for path in paths) else self._near


async def _set_when_cancelled(stop: Stop, finished: trio.Event) -> None:
    try:
        await finished.wait()
    except trio.Cancelled:
        stop.set()
        raise

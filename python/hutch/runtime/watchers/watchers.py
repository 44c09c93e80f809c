"""The service that watches directories.

Belongs here: which watchers there are, what each endpoint asks for, and the one task that takes
events from the engine to whoever listens. Banned here: HTTP, what an event means, the file system:
the engine's threads alone touch it.
Source: wire contract, section 6; reference, "File Watcher".
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio

from hutch import _native
from hutch.runtime.watchers.answers import ChangesSource
from hutch.runtime.watchers.listeners import Hear, Listeners
from hutch.runtime.watchers.watching import Watching, failure_of
from hutch.wire.config import Limits
from hutch.wire.errors import Failure
from hutch.wire.watchers import WatchBody, WatcherFacts

# A listener that was full is asked again: a socket sends its megabyte in less.
_AGAIN_SECONDS: Final = 0.02


class Watchers:
    """Every watcher, from `create` to `delete`."""

    def __init__(self, limits: Limits, nursery: trio.Nursery) -> None:
        self._limits = limits
        self._nursery = nursery
        self._engine: _native.Watches | None = None
        self._all: dict[str, Watching] = {}
        self._made = 0
        self._listeners = Listeners()

    def uses(self) -> dict[str, float]:
        """How much of its bounds is in use, by the names of `Limits`."""
        directories = 0 if self._engine is None else self._engine.watched()
        return {"watchers": len(self._all), "watch_directories": directories}

    # --- what endpoints ask -------------------------------------------------------------------

    async def create(self, asked: WatchBody) -> WatcherFacts:
        """Watches a directory; comes back when its tree was read.

        Raises `Failure`: not_found, forbidden, bad_request (no directory, a malformed glob),
        conflict where there are as many as may be, internal where the system gives no watch.
        """
        root, patterns = asked.place, asked.patterns
        self._make_room()
        one = self._start(root, patterns, use_gitignore=asked.use_gitignore)
        try:
            await one.settled.wait()
        except trio.Cancelled:
            # The client has gone: it would not know what to delete.
            self._forget(one)
            raise
        if one.failure is not None:
            self._forget(one)
            raise failure_of(one.failure, root)
        return one.facts()

    def all(self) -> list[WatcherFacts]:
        """Every watcher that is there."""
        return [one.facts() for one in self._all.values() if one.is_ready]

    def get(self, watcher_id: str) -> WatcherFacts:
        """One watcher. Raises `Failure` (not_found)."""
        return self._find(watcher_id).facts()

    def delete(self, watcher_id: str) -> None:
        """Ends and forgets a watcher. Raises `Failure` (not_found)."""
        self._forget(self._find(watcher_id))

    def changes(self, watcher_id: str, *, since: int, wait: float) -> ChangesSource:
        """The answer to what has come after the event `since`, waiting for it so many seconds.

        Raises `Failure` (not_found).
        """
        return ChangesSource(self._find(watcher_id), since, wait)

    # --- who listens --------------------------------------------------------------------------

    @contextmanager
    def listening(self, hear: Hear) -> Iterator[list[bytes]]:
        """Gives the frame `ready` of every watcher that tells of changes.

        `hear` is called on the event loop with one finished JSON text frame for each event after
        that, `ready` of each watcher that is made from now on included. It must not block. False
        means that it is full: it is asked again, and where events were lost meanwhile it gets the
        frame `overflow` before the next one.
        """
        known = [one for one in self._all.values() if one.is_ready]
        with self._listeners.listening(hear, known) as ready:
            yield ready

    # --- within -------------------------------------------------------------------------------

    def _make_room(self) -> None:
        most = self._limits.watchers
        if len(self._all) < most:
            return
        over = next((one for one in self._all.values() if one.is_ready and not one.is_active), None)
        if over is None:
            ids = ", ".join(self._all)
            raise Failure("conflict", f"there are {most} watchers already ({ids}); delete one")
        self._forget(over)

    def _start(self, root: bytes, excludes: list[str], *, use_gitignore: bool) -> Watching:
        watcher_id = str(self._made + 1)
        limits = self._limits
        try:
            native = self._opened().start(
                watcher_id,
                root,
                excludes=[one.encode("utf-8", "surrogateescape") for one in excludes],
                use_gitignore=use_gitignore,
                debounce_seconds=limits.watch_debounce_seconds,
                log_events=limits.watch_events,
                log_bytes=limits.watch_log_bytes,
            )
        except OSError as error:
            raise failure_of(error, root) from error
        self._made += 1
        one = Watching(watcher_id, root, excludes, use_gitignore, native, native.seq())
        self._all[watcher_id] = one
        return one

    def _opened(self) -> _native.Watches:
        if self._engine is None:
            self._engine = _native.Watches(directories=self._limits.watch_directories)
            self._nursery.start_soon(self._deliver, self._engine)
        return self._engine

    def _find(self, watcher_id: str) -> Watching:
        one = self._all.get(watcher_id)
        if one is None or not one.is_ready:
            raise Failure("not_found", f"no such watcher: {watcher_id[:100]}")
        return one

    def _forget(self, one: Watching) -> None:
        self._all.pop(one.id, None)
        self._listeners.forget(one.id)
        one.is_forgotten = True
        one.native.stop()
        one.wake()

    async def _deliver(self, engine: _native.Watches) -> None:
        """Takes events to the listeners, for as long as the service lives."""
        while True:
            if self._listeners.tell(one for one in self._all.values() if one.is_ready):
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_after(_AGAIN_SECONDS if self._listeners.is_waiting else math.inf):
                    await trio.lowlevel.wait_readable(engine.fileno())
            # In each turn: a storm of events may last, and others wait for more than events.
            engine.hush()
            self._look()

    def _look(self) -> None:
        """Sees which watchers have become ready, or have not, and wakes who waits for changes."""
        for one in self._all.values():
            if not one.settled.is_set():
                one.settle()
            one.wake()

    def close(self) -> None:
        """Ends every watcher and the engine."""
        for one in tuple(self._all.values()):
            self._forget(one)
        if self._engine is not None:
            self._engine.close()


@asynccontextmanager
async def open_watchers(limits: Limits) -> AsyncIterator[Watchers]:
    """The service with its task."""
    async with trio.open_nursery() as nursery:
        watchers = Watchers(limits, nursery)
        try:
            yield watchers
        finally:
            # Before the descriptor closes, which the task waits for.
            nursery.cancel_scope.cancel()
            watchers.close()

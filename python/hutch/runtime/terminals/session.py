"""One terminal, from its start to the end of the last who could write to it.

Belongs here: reading it at the right pace, awaiting its end, its state as the wire has it. Banned
here: numbers, other sessions, clients (they are cursors here, `View`). Nothing polls: the end
comes by the pidfd, output by the terminal, the last process's end by the cgroup.

It is read as fast as the fastest of its listeners takes it, freely where there is none. Once its
leader has ended, what it wrote is read to the end, and the session ends. What descendants write
afterwards is read and dropped: a terminal that nobody reads would stop them, one that is closed
would send them SIGHUP.
Source: wire contract, sections 5 and 7; design, section 3, "Processes".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from hutch import _native
from hutch.runtime.processes.remains import outlive
from hutch.runtime.terminals.keyboard import Keyboard
from hutch.runtime.terminals.launch import Started, resize
from hutch.runtime.terminals.scrollback import Scrollback
from hutch.wire.config import Limits
from hutch.wire.terminals import Terminal

_SIGNALLED: Final = 128
# A read gives 4 KiB at most. What one turn of the loop takes before others have theirs.
_PIECE: Final = 16 * 1024
_TURN: Final = 64 * 1024
# More than a terminal holds: what its leader wrote is in what is read up to here.
_DRAIN: Final = 256 * 1024
# A listener has room while it is less than this part of the allowed lag behind.
_WINDOW: Final = 4


@dataclass(slots=True, eq=False)
class View:
    """One listener's cursor in one terminal.

    `at` is the next byte to send; up to `replay` it is what was there when the listener came,
    and does not count as backlog. `skipped` bytes are to be told of.
    """

    session: Session
    wake: Callable[[], None]
    at: int
    replay: int
    sent: float = float("-inf")
    skipped: int = 0

    @property
    def backlog(self) -> int:
        """How far behind it is."""
        return self.session.scrollback.total - max(self.at, self.replay)

    def skip(self, most: int) -> None:
        """Skips ahead to where a new listener would begin, or half of what may be behind."""
        scrollback = self.session.scrollback
        to = max(self.at, scrollback.ring, scrollback.total - most // 2)
        self.skipped += to - self.at
        self.at = to


class Session:
    """A terminal. `number` is its id."""

    def __init__(
        self, number: int, started: Started, *, size: tuple[int, int], ring: int, limits: Limits
    ) -> None:
        self.number = number
        self.words = started.words
        self.cols, self.rows = size
        self.tree = started.tree
        self.scrollback = Scrollback(ring)
        self.keyboard = Keyboard(started.master, limits.terminal_input_bytes)
        self.exit_code: int | None = None
        self.ended = trio.Event()
        self.gone = trio.Event()
        self.closed = trio.Event()
        self.is_closing = False
        self._created = time.time()
        self._limits = limits
        self._process = started.process
        self._master, self._theirs = started.master, started.theirs
        self._is_open = True
        self._views: set[View] = set()
        self._room = trio.Event()
        self._release: Callable[[], None] | None = None
        self._eof = trio.Event()

    # --- its life -----------------------------------------------------------------------------

    async def run(self, ended: Callable[[], None]) -> None:
        """Returns when nobody is left. Calls `ended` once, when the session has."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(self.keyboard.feed)
                self.exit_code = await self._lead()
                self._end()
                ended()
        finally:
            self._close()
        if self.tree.cgroup is not None:
            await outlive(self.tree.cgroup)
        self.gone.set()

    async def _lead(self) -> int:
        while True:
            await trio.lowlevel.wait_readable(self._process.fileno())
            how = self._process.try_reap()
            if how is not None:
                break
        os.close(self._theirs)
        self._theirs = -1
        self._drain()
        with trio.move_on_after(self._limits.exec_drain_seconds):
            await self._eof.wait()
        return _exit_code(how)

    def _drain(self) -> None:
        """Reads what the leader wrote, whoever has room for it."""
        left = _DRAIN
        while left > 0 and (data := self._read_some()):
            self._take(data)
            left -= len(data)

    def _end(self) -> None:
        self.keyboard.close()
        self.ended.set()
        self._room.set()
        # The number may be another process's from now on.
        trio.lowlevel.notify_closing(self._process.fileno())
        self._process.close()
        self._tell()

    def _close(self) -> None:
        self._is_open = False
        trio.lowlevel.notify_closing(self._master)
        os.close(self._master)
        if self._theirs >= 0:
            os.close(self._theirs)

    # --- output -------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            if not self._may_read():
                self._room = trio.Event()
                await self._room.wait()
                continue
            data = self._read_some()
            if data is None:
                await trio.lowlevel.wait_readable(self._master)
            elif not data:
                break
            else:
                self._take(data)
                await trio.lowlevel.checkpoint()
        self._eof.set()

    def _may_read(self) -> bool:
        if self.ended.is_set() or not self._views:
            return True
        window = self._limits.terminal_lag_bytes // _WINDOW
        return any(one.backlog < window for one in self._views)

    def _read_some(self) -> bytes | None:
        """What is there; None where nothing is, b"" once nobody can write any more."""
        found = bytearray()
        while len(found) < _TURN:
            try:
                piece = os.read(self._master, _PIECE)
            except BlockingIOError:
                return bytes(found) or None
            except OSError:
                return bytes(found)
            if not piece:
                break
            found += piece
        return bytes(found)

    def _take(self, data: bytes) -> None:
        if self.ended.is_set():
            return
        self.scrollback.append(data)
        most = self._limits.terminal_lag_bytes
        for one in self._views:
            if one.backlog > most:
                one.skip(most)
        self.scrollback.trim(one.at for one in self._views)
        self._tell()

    def _tell(self) -> None:
        for one in self._views:
            one.wake()

    # --- listeners ----------------------------------------------------------------------------

    def attach(self, wake: Callable[[], None]) -> View:
        """A cursor at the first byte of the ring; `wake` is called when there is more."""
        view = View(self, wake, at=self.scrollback.ring, replay=self.scrollback.total)
        self._views.add(view)
        return view

    def detach(self, view: View) -> None:
        """The listener has gone, or has heard everything."""
        self._views.discard(view)
        self.scrollback.trim(one.at for one in self._views)
        self._room.set()
        self._release_if_unheard()

    def forget(self, release: Callable[[], None]) -> None:
        """Nobody can ask for it any more; `release` is called when nobody listens either."""
        self._release = release
        self.scrollback.size = 0
        self.scrollback.trim(one.at for one in self._views)
        self._release_if_unheard()

    def _release_if_unheard(self) -> None:
        if self._release is not None and not self._views:
            release, self._release = self._release, None
            release()

    def taken(self) -> None:
        """A listener took something: there may be room."""
        self._room.set()

    # --- what is asked of it ------------------------------------------------------------------

    def resize(self, cols: int, rows: int) -> None:
        """Sets the size."""
        self.cols, self.rows = cols, rows
        if self._is_open and not self.ended.is_set():
            resize(self._master, cols, rows)

    def facts(self) -> Terminal:
        """The session as lists have it."""
        return Terminal(
            id=str(self.number),
            command=self.words,
            cols=self.cols,
            rows=self.rows,
            alive=not self.ended.is_set(),
            exit_code=self.exit_code or 0,
            created_at=_native.rfc3339(int(self._created)),
            scrollback_size=self.scrollback.size,
            shell=self.words[0],
            status="exited" if self.ended.is_set() else "running",
        )


def _exit_code(how: _native.Ended) -> int:
    return (how.code or 0) if how.signal is None else _SIGNALLED + how.signal

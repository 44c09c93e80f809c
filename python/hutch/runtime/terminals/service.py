"""The service that runs terminals.

Belongs here: what each endpoint and each frame asks for, and the nursery that every terminal
lives in: it outlives the request, the connection and the client. Banned here: HTTP, WebSockets,
how a terminal is started or read.
Source: wire contract, sections 5 and 7.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Final

import trio

from hutch.runtime.lanes import Lane
from hutch.runtime.processes.cgroups import Cgroups
from hutch.runtime.processes.tree import Tree
from hutch.runtime.terminals.ids import Ids
from hutch.runtime.terminals.launch import launch
from hutch.runtime.terminals.ledger import Ledger
from hutch.runtime.terminals.listener import Listener
from hutch.runtime.terminals.session import Session
from hutch.wire.config import Config
from hutch.wire.errors import Failure
from hutch.wire.terminals import TerminalBody, check_body

_SIGNALS: Final = 8
_LAST_SECONDS: Final = 1.5


class Terminals:
    """Every terminal, from `create` to `close`."""

    def __init__(
        self, config: Config, cgroups: Cgroups | None, ledger: Ledger, nursery: trio.Nursery
    ) -> None:
        self._config = config
        self._limits = config.limits
        self._cgroups = cgroups
        self._ledger = ledger
        self._nursery = nursery
        self._ids = Ids()
        self._sessions: dict[int, Session] = {}
        # Of sessions that were forgotten, those whose processes perhaps have not ended.
        self._left: set[Session] = set()
        # And those that clients are still to be sent something of: their numbers are in use.
        self._unheard: dict[Session, None] = {}
        self._listeners: set[Listener] = set()
        self._starting = 0
        self._starts = Lane(config.limits.terminals)
        self._signals = Lane(_SIGNALS)
        self._is_ending = False

    def uses(self) -> dict[str, float]:
        """How much of its bounds is in use, by the names of `Limits`."""
        ended = sum(one.ended.is_set() for one in self._sessions.values())
        live = len(self._sessions) - ended + self._starting
        return {"terminals": live, "terminals_ended": ended}

    # --- requests -----------------------------------------------------------------------------

    async def create(self, asked: TerminalBody) -> Session:
        """A new session, running.

        Raises `Failure`: bad_request, rate_limited for one too many, internal (500) where it
        cannot be started.
        """
        check_body(asked)
        self._require_room()
        number = self._ids.take()
        if number is None:
            raise Failure("rate_limited", "every id is in use; close a terminal")
        directory = asked.cwd or os.fsencode(self._config.cwd)
        self._starting += 1
        # Shielded: what was started must be looked after, whoever has gone.
        with trio.CancelScope(shield=True):
            try:
                started = await self._starts.run(partial(launch, asked, directory, self._cgroups))
            except BaseException:
                self._ids.give_back(number)
                raise
            finally:
                self._starting -= 1
        size = (asked.cols, asked.rows)
        ring = asked.scrollback_size or self._limits.terminal_scrollback_bytes
        session = Session(number, started, size=size, ring=ring, limits=self._limits)
        self._begin(session)
        return session

    def _require_room(self) -> None:
        if self._is_ending:
            raise Failure("unavailable", "the server is ending")
        live = sum(not one.ended.is_set() for one in self._sessions.values())
        if live + self._starting >= self._limits.terminals:
            told = f"{self._limits.terminals} terminals are open; close one of them"
            if self._starting:
                told += f" ({self._starting} are being started: their disk may not answer)"
            raise Failure("rate_limited", told)

    def _begin(self, session: Session) -> None:
        self._sessions[session.number] = session
        self._ledger.started(session.tree)
        for one in self._listeners:
            one.add(session)
        self._nursery.start_soon(self._look_after, session)

    async def _look_after(self, session: Session) -> None:
        await session.run(partial(self._ended, session))
        self._left.discard(session)

    def _ended(self, session: Session) -> None:
        self._ledger.ended(session.tree)
        ended = [one for one in self._sessions.values() if one.ended.is_set()]
        for one in ended[: max(len(ended) - self._limits.terminals_ended, 0)]:
            self._forget(one)

    def _forget(self, session: Session) -> None:
        if self._sessions.pop(session.number, None) is None:
            return
        if not session.gone.is_set():
            self._left.add(session)
        self._unheard[session] = None
        session.forget(partial(self._release, session))
        self._bound_unheard()

    def _release(self, session: Session) -> None:
        self._unheard.pop(session)
        self._ids.give_back(session.number)

    def _bound_unheard(self) -> None:
        """A client that is slow keeps the numbers and the output of no more than may be listed."""
        ended = [one for one in self._unheard if one.ended.is_set()]
        for one in ended[: max(len(ended) - self._limits.terminals_ended, 0)]:
            for listener in self._listeners:
                listener.cut(one)

    def all(self) -> list[Session]:
        """Every session, the oldest first."""
        return list(self._sessions.values())

    def get(self, identifier: str) -> Session:
        """The session of an id. Raises `Failure` (not_found)."""
        # By text: "01" and "1 " are no ids.
        found = next((one for one in self.all() if str(one.number) == identifier), None)
        if found is None:
            raise Failure("not_found", f"no terminal with the id {identifier[:40]!r}")
        return found

    async def close(self, session: Session) -> None:
        """Ends the whole tree of a session and forgets it: SIGHUP, then SIGKILL."""
        if not session.is_closing:
            session.is_closing = True
            # Not by whoever asked: that one may leave half-way.
            self._nursery.start_soon(self._close, session)
        await session.closed.wait()

    async def _close(self, session: Session) -> None:
        with trio.CancelScope(shield=True):
            await self._hang_up([session], self._limits.terminal_hangup_seconds)
        self._forget(session)
        session.closed.set()

    async def _hang_up(self, sessions: list[Session], seconds: float) -> None:
        """SIGHUP to all of them, SIGKILL to what is left; returns once their leaders have ended."""
        trees = [one.tree for one in sessions if not one.gone.is_set() or one.tree.cgroup is None]
        await self._signals.run(partial(_send_all, trees))
        with trio.move_on_after(seconds):
            for one in sessions:
                await one.gone.wait()
        await self._signals.run(partial(_kill_all, trees))
        with trio.move_on_after(_LAST_SECONDS):
            for one in sessions:
                await one.ended.wait()

    async def end(self) -> None:
        """Ends every terminal, and what ended ones left. Nothing is started any more."""
        self._is_ending = True
        await self._hang_up([*self._sessions.values(), *self._left], self._limits.exec_stop_seconds)

    # --- sockets ------------------------------------------------------------------------------

    @contextmanager
    def listening(self, wake: Callable[[], None]) -> Iterator[Listener]:
        """One client of all terminals; `wake` is called when there is something for it."""
        listener = Listener(self._sessions.values(), self._limits, wake)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            listener.close()

    async def type(self, number: int, data: bytes) -> None:
        """Writes to a terminal: all of it, in order, or nothing.

        Waits a little where its program does not read what was typed before. Raises `Failure`:
        not_found, conflict for one that has ended, timeout where there is no room.
        """
        session = self._live(str(number))
        keyboard = session.keyboard
        if not await keyboard.until_room(len(data), self._limits.terminal_input_seconds):
            raise Failure(
                "timeout",
                f"terminal {number} does not read its input: {keyboard.waiting} bytes wait; "
                f"these {len(data)} were not written",
                extra={"refused": len(data)},
            )
        self._live(str(number))  # it may have ended meanwhile
        keyboard.type(data)

    def resize(self, identifier: str, cols: int, rows: int) -> None:
        """Sets a terminal's size. Raises `Failure`: not_found, conflict."""
        self._live(identifier).resize(cols, rows)

    def _live(self, identifier: str) -> Session:
        session = self.get(identifier)
        if session.ended.is_set():
            raise Failure("conflict", f"terminal {identifier} has ended")
        return session


def _send_all(trees: list[Tree]) -> None:
    for tree in trees:
        tree.send(signal.SIGHUP)
        # One that is stopped hears of it only when it goes on.
        tree.send(signal.SIGCONT)


def _kill_all(trees: list[Tree]) -> None:
    for tree in trees:
        tree.kill()


@asynccontextmanager
async def open_terminals(config: Config, cgroups: Cgroups | None) -> AsyncIterator[Terminals]:
    """The service, with what an earlier instance left ended.

    Raises OSError where the state directory cannot be written.
    """
    ledger = await trio.to_thread.run_sync(Ledger, config.state_dir / "terminals")
    try:
        async with trio.open_nursery() as nursery:
            terminals = Terminals(config, cgroups, ledger, nursery)
            try:
                yield terminals
            finally:
                with trio.CancelScope(shield=True):
                    await terminals.end()
                nursery.cancel_scope.cancel()
    finally:
        ledger.close()

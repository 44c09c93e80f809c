"""Which workspace is where: asked once, kept, and followed by the feed of changes.

Belongs here: the look-up, what is kept of it, the feed, and how long it is trusted while the
control plane is away. Banned here: deciding about a request (`admission`), connections
(`registry`). Source: wire contract, section 10.

The invariant: a record that is kept and not `doubted` is the one that the control plane had at
`self._seq` or later. A change puts its workspace in doubt, and a look-up that was under way when
the change was told is made again: its answer may be older.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from hutch.gateway.plane import Plane, PlaneAway, Route
from hutch.wire.errors import Failure

_log: Final = logging.getLogger("hutch.gateway")

_WAIT_SECONDS: Final = 20.0
_RETRY_SECONDS: Final = 0.25
_MOST_RETRY_SECONDS: Final = 2.0
_MOST_RECORDS: Final = 50_000

Told = Callable[[str, "Route | None", "Route | None"], None]


@dataclass(slots=True)
class _Record:
    route: Route | None
    since: float
    doubted: bool = False


@dataclass(slots=True)
class _Flight:
    """One look-up under way: `again` where its answer may be older than what was told since."""

    done: trio.Event = field(default_factory=trio.Event)
    again: bool = False
    record: _Record | None = None


class Directory:
    """The records of workspaces; `told` hears of each new one (id, the old one, the new one).

    `live` names the workspaces to which something is open: their records are looked up at once
    when they change, not when somebody asks next.
    """

    def __init__(
        self,
        plane: Plane,
        nursery: trio.Nursery,
        *,
        stale_seconds: float,
        told: Told,
        live: Callable[[], tuple[str, ...]],
    ) -> None:
        self._plane = plane
        self._nursery = nursery
        self._stale_seconds = stale_seconds
        self._told = told
        self._live = live
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._flights: dict[str, _Flight] = {}
        self._watched: set[str] = set()
        self._seq: int | None = None
        self._contact = -math.inf
        self.in_contact = False

    def __len__(self) -> int:
        return len(self._records)

    @property
    def sequence(self) -> int | None:
        """The last change that was heard of."""
        return self._seq

    async def find(self, workspace_id: str) -> Route | None:
        """The record, None where there is no such workspace.

        Raises `Failure` (unavailable) where it is not known, and cannot be asked for.
        """
        record = self._records.get(workspace_id)
        if record is None or record.doubted:
            return await self._join(workspace_id)
        if not self.in_contact:
            age = trio.current_time() - max(record.since, self._contact)
            if age > self._stale_seconds:
                raise _away("the control plane has been away for too long")
        self._records.move_to_end(workspace_id)
        return record.route

    async def look_up(self, workspace_id: str) -> Route | None:
        """The record as it is now, or later: whoever was told of a change gets what it made.

        Raises as `find` does.
        """
        if (flight := self._flights.get(workspace_id)) is not None:
            await flight.done.wait()  # asked before us: its answer may be older
        return await self._join(workspace_id)

    async def _join(self, workspace_id: str) -> Route | None:
        while True:
            flight = self._flights.get(workspace_id)
            if flight is None:
                flight = self._flights[workspace_id] = _Flight()
                self._nursery.start_soon(self._fly, workspace_id, flight)
            await flight.done.wait()
            if flight.record is None:
                raise _away("the control plane cannot be asked about this workspace")
            # A change may have been told between the answer and this task's turn.
            if self._is_good(workspace_id, flight.record):
                return flight.record.route

    def _is_good(self, workspace_id: str, record: _Record) -> bool:
        return self._records.get(workspace_id) is record and not record.doubted

    async def _fly(self, workspace_id: str, flight: _Flight) -> None:
        try:
            while True:
                flight.again = False
                asked = trio.current_time()
                route = await self._plane.route(workspace_id)
                if not flight.again:
                    break
            flight.record = _Record(route, asked)
            self._keep(workspace_id, flight.record)
        except PlaneAway as error:
            _log.info("a workspace could not be looked up: %s", error)
        finally:
            del self._flights[workspace_id]
            flight.done.set()

    def _keep(self, workspace_id: str, record: _Record) -> None:
        before = self._records.pop(workspace_id, None)
        self._records[workspace_id] = record
        if len(self._records) > _MOST_RECORDS:
            self._records.popitem(last=False)
        self._told(workspace_id, None if before is None else before.route, record.route)

    # -- the feed --------------------------------------------------------------------------

    async def follow(self) -> None:
        """Follows the changes, for ever."""
        retry = _RETRY_SECONDS
        while True:
            try:
                wait = _WAIT_SECONDS if self.in_contact else 0.0
                changes = await self._plane.changes(self._seq, wait=wait)
            except PlaneAway as error:
                if self.in_contact:
                    _log.warning("the control plane is away: %s", error)
                self.in_contact = False
                await trio.sleep(retry)
                retry = min(retry * 2, _MOST_RETRY_SECONDS)
                continue
            retry = _RETRY_SECONDS
            is_new = self._seq is None or changes.reset or changes.seq < self._seq
            self._seq = changes.seq
            self._contact = trio.current_time()
            if not self.in_contact:
                _log.info("in contact with the control plane")
            self.in_contact = True
            self._doubt((*self._records, *self._flights) if is_new else changes.workspaces)
            self._watch(self._live() if is_new else changes.workspaces)

    def _doubt(self, workspaces: tuple[str, ...]) -> None:
        for one in workspaces:
            if (record := self._records.get(one)) is not None:
                record.doubted = True
            if (flight := self._flights.get(one)) is not None:
                flight.again = True

    def _watch(self, workspaces: tuple[str, ...]) -> None:
        live = set(self._live())
        for one in workspaces:
            if one in live and one not in self._watched:
                self._watched.add(one)
                self._nursery.start_soon(self._settle, one)

    async def _settle(self, workspace_id: str) -> None:
        """Looks a workspace up for what is open to it, until there is an answer."""
        try:
            while workspace_id in self._live():
                try:
                    await self.find(workspace_id)
                except Failure:
                    await trio.sleep(_RETRY_SECONDS)
                    continue
                record = self._records.get(workspace_id)
                if record is not None and not record.doubted:
                    return
        finally:
            self._watched.discard(workspace_id)


def _away(sentence: str) -> Failure:
    return Failure("unavailable", f"{sentence}; try again", extra={"may_have_arrived": False})

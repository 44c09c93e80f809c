"""Workspaces on record and what is made of them: intentions first, deeds after.

Belongs here: turns (one change at a time for each workspace), altering the record, bringing about
what it says. Banned here: what a client may ask (`workspaces`, `access`, `networks`).

Whatever changes a workspace is recorded before anything is done, in one transaction with the note
for gateways. So a crash at any moment leaves an intention, and `bring_about` finishes it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import trio
from sqlalchemy import Connection

from hutch.control import rules
from hutch.control.drivers.driver import Driver, Plan
from hutch.control.records import Record
from hutch.control.store import addresses, changes, workspaces
from hutch.control.store.engine import Store, microseconds
from hutch.control.vault import Vault
from hutch.wire.control.config import ControlLimits
from hutch.wire.control.workspaces import ProvisioningError
from hutch.wire.errors import Failure

T = TypeVar("T")

_log: Final = logging.getLogger("hutch.control")


class Registry:
    """The record and the driver together."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        driver: Driver,
        limits: ControlLimits,
        nursery: trio.Nursery,
    ) -> None:
        self.store = store
        self.driver = driver
        self.limits = limits
        self._vault = vault
        self._nursery = nursery
        self._turns: dict[str, trio.Lock] = {}
        self._tell, self._told = trio.open_memory_channel[str](1 << 20)

    # --- the record ----------------------------------------------------------------------------

    async def find(self, client_id: str, name: str) -> Record:
        """A client's workspace by id or slug. Raises `Failure` (not_found)."""
        look = partial(workspaces.find, client_id=client_id, name=name)
        record = await self.store.read(look) if rules.may_exist(name) else None
        if record is None:
            raise rules.missing(name)
        return record

    async def get(self, identifier: str) -> Record:
        """Any workspace by id, one that is being deleted too. Raises `Failure` (not_found)."""
        look = partial(workspaces.get, identifier=identifier)
        record = await self.store.read(look) if rules.may_exist(identifier) else None
        if record is None:
            raise rules.missing(identifier)
        return record

    async def alter(
        self,
        record: Record,
        *,
        voids_tokens: bool = False,
        also: Callable[[Connection], None] | None = None,
        **values: Any,
    ) -> Record:
        """Changes fields on record, and notes the change for gateways; the record as it is now.

        `voids_tokens` raises the generation. `also` runs in the same transaction, before.
        """

        def write(connection: Connection) -> Record:
            if also is not None:
                also(connection)
            if voids_tokens:
                workspaces.raise_generation(connection, record.id)
            workspaces.change(connection, record.id, updated_at=microseconds(), **values)
            self.note(connection, record.id)
            changed = workspaces.get(connection, record.id)
            if changed is None:
                raise rules.missing(record.id)
            return changed

        return await self.store.write(write)

    def note(self, connection: Connection, identifier: str) -> None:
        """Notes a change for gateways, within the transaction that makes it."""
        changes.note(connection, identifier, keep=self.limits.changes)

    # --- secrets -------------------------------------------------------------------------------

    def seal(self, identifier: str, token: str) -> bytes:
        """A raw token as the record has it."""
        return self._vault.seal(token, about=_about(identifier))

    def token(self, record: Record) -> str:
        """The raw token of a workspace."""
        return self._vault.open(record.sealed, about=_about(record.id))

    def plan(self, record: Record) -> Plan:
        """What the driver is told."""
        return Plan(
            id=record.id,
            ip=record.ip,
            port=record.port,
            token=self.token(record),
            serving=record.is_running and record.enabled,
        )

    # --- turns ---------------------------------------------------------------------------------

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Runs a change to its end, whether or not whoever asked for it stays."""
        outcome: list[T | Exception] = []

        async def whole() -> None:
            try:
                outcome.append(await work())
            except Exception as error:  # handed to the caller, who may be gone
                outcome.append(error)

        await self.begin(whole).wait()
        if not outcome:
            raise Failure("unavailable", "the control plane is ending; ask again when it is back")
        (result,) = outcome
        if isinstance(result, Exception):
            raise result
        return result

    def begin(self, work: Callable[[], Awaitable[None]]) -> trio.Event:
        """Starts work that nobody need wait for; the event fires when it has ended."""
        ended = trio.Event()

        async def whole() -> None:
            try:
                await work()
            finally:
                ended.set()

        self._nursery.start_soon(whole)
        return ended

    @asynccontextmanager
    async def turn(self, identifier: str) -> AsyncIterator[Record]:
        """The workspace, for as long as nobody else changes it. Raises `Failure` (not_found)."""
        lock = self._turns.setdefault(identifier, trio.Lock())
        try:
            async with lock:
                yield await self.get(identifier)
        finally:
            statistics = lock.statistics()
            if not statistics.locked and not statistics.tasks_waiting:
                self._turns.pop(identifier, None)

    @asynccontextmanager
    async def turn_of(self, client_id: str, name: str) -> AsyncIterator[Record]:
        """The same for a client's workspace, by id or slug."""
        found = await self.find(client_id, name)
        async with self.turn(found.id) as record:
            if record.wanted == "deleted":
                raise rules.missing(name)
            yield record

    # --- deeds ---------------------------------------------------------------------------------

    async def bring_about(self, record: Record) -> Record:
        """Makes true what is on record, from whatever there is. Within a turn.

        Raises `Failure` where the driver cannot now.
        """
        if record.wanted == "deleted":
            await self._remove(record)
            return record
        if record.made != "made":
            record = await self._make(record)
        if record.wanted == "running":
            await self.apply_policy(record)
            await self.driver.start(self.plan(record))
        else:
            await self.driver.stop(self.plan(record))
        return record

    async def apply_policy(self, record: Record) -> None:
        """Puts the policy on record into force. Within a turn. Raises as `bring_about` does."""
        peers = await self.store.read(partial(workspaces.peers, identifier=record.id))
        ips = tuple(ip for _, ip in peers)
        await self.driver.apply_policy(self.plan(record), record.policy, ips)

    async def bring_about_or_later(self, record: Record) -> Record:
        """The same; where it cannot be now, it is tried again, and the `Failure` raised."""
        try:
            return await self.bring_about(record)
        except Failure as failure:
            self.unsettled(record, failure)
            raise

    async def _make(self, record: Record) -> Record:
        try:
            await self.driver.create(self.plan(record))
        except Failure as failure:
            problem = ProvisioningError(code=failure.code, message=failure.message)
            await self.alter(record, made="failed", problem=problem)
            raise
        return await self.alter(record, made="made", problem=None)

    async def _remove(self, record: Record) -> None:
        await self.driver.delete(self.plan(record))

        def write(connection: Connection) -> None:
            addresses.release(connection, record.id, microseconds())
            workspaces.forget(connection, record.id)
            self.note(connection, record.id)

        await self.store.write(write)

    def unsettled(self, record: Record, failure: Failure) -> None:
        """Has what is on record brought about later, since it could not be now."""
        _log.warning("%s: %s; it will be tried again", record.id, failure.message)
        self._tell.send_nowait(record.id)

    async def next_unsettled(self) -> str:
        """Waits for a workspace that is not as it should be; its id."""
        return await self._told.receive()


def _about(identifier: str) -> str:
    return f"raw token {identifier}"

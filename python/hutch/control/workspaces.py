"""What clients do with workspaces: make, see, change, start, stop, delete.

Belongs here: the order of record and deed for each. Banned here: HTTP, tokens, network policy.
Source: wire contract, section 9.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from msgspec import UNSET
from sqlalchemy import Connection

from hutch.control import rules
from hutch.control.drivers.driver import PORT
from hutch.control.records import Record
from hutch.control.registry import Registry
from hutch.control.store import addresses
from hutch.control.store import workspaces as stored
from hutch.control.store.engine import microseconds
from hutch.wire.control.network import Policy
from hutch.wire.control.workspaces import CreateBody, ListQuery, UpdateBody, Workspace
from hutch.wire.errors import Failure

_SECOND: Final = 1_000_000
# One that is not waited for is often there in a moment, and asking again would take two seconds.
_MOMENT_SECONDS: Final = 0.5


class Workspaces:
    """The workspaces of all clients; each call is for one client."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._honours = registry.driver.honours

    async def create(self, client_id: str, asked: CreateBody) -> tuple[Workspace, bool]:
        """A new workspace, running; or the one that the same request made before (False).

        Raises `Failure` (conflict) for a slug that is taken, or an idempotency key that was used
        with another body or whose workspace is gone.
        """
        record, is_new, settled = await self._registry.run(partial(self._begin, client_id, asked))
        with trio.move_on_after(float("inf") if asked.wait_ready else _MOMENT_SECONDS):
            await settled.wait()
        return await self.get(client_id, record.id), is_new

    async def _begin(self, client_id: str, asked: CreateBody) -> tuple[Record, bool, trio.Event]:
        """Puts it on record, and has it made whoever waits for it."""
        enter = partial(self._enter, client_id=client_id, asked=asked)
        record, is_new = await self._registry.store.write(enter)
        return record, is_new, self._registry.begin(partial(self._settle, record.id))

    async def _settle(self, identifier: str) -> None:
        """Has a new workspace made; where it cannot be, the record says why."""
        with suppress(Failure):
            async with self._registry.turn(identifier) as record:
                if record.made == "making":
                    await self._registry.bring_about_or_later(record)

    async def retry(self, client_id: str, name: str) -> Workspace:
        """Tries again to make a workspace that could not be made."""

        async def again() -> Record:
            async with self._registry.turn_of(client_id, name) as record:
                return await self._registry.bring_about(record)

        return self._shown(await self._registry.run(again))

    async def get(self, client_id: str, name: str) -> Workspace:
        """One workspace."""
        return self._shown(await self._registry.find(client_id, name))

    async def page(self, client_id: str, asked: ListQuery) -> tuple[list[Workspace], int]:
        """A page of them, and how many there are in all."""
        look = partial(stored.page, client_id=client_id, asked=asked)
        records, total = await self._registry.store.read(look)
        return [self._shown(one) for one in records], total

    async def update(self, client_id: str, name: str, asked: UpdateBody) -> Workspace:
        """Changes what is given; `config` is merged, null in it removes."""

        async def change() -> Record:
            async with self._registry.turn_of(client_id, name) as record:
                given = {one: getattr(asked, one) for one in ("name", "slug", "logo")}
                values = {one: value for one, value in given.items() if value is not UNSET}
                if asked.config is not UNSET:
                    values["config"] = rules.config_of({**record.config, **asked.config})
                also = partial(_claim_slug, record=record, slug=values.get("slug"))
                return await self._registry.alter(record, also=also, **values)

        return self._shown(await self._registry.run(change))

    async def start(self, client_id: str, name: str) -> Workspace:
        """Has it run, with the server in it if access is enabled."""
        return self._shown(await self._registry.run(partial(self._start, client_id, name)))

    async def _start(self, client_id: str, name: str, *, anew: bool = False) -> Record:
        async with self._registry.turn_of(client_id, name) as found:
            _require_made(found)
            record = found
            if found.wanted != "running":
                record = await self._registry.alter(found, wanted="running")
            elif anew:
                await self._registry.driver.stop(self._registry.plan(found))
            try:
                return await self._registry.bring_about(record)
            except Failure as failure:
                if found.wanted == "running":
                    self._registry.unsettled(record, failure)
                else:
                    await self._registry.alter(record, wanted=found.wanted)
                raise

    async def restart(self, client_id: str, name: str) -> Workspace:
        """Stops it if it runs, then has it run."""
        work = partial(self._start, client_id, name, anew=True)
        return self._shown(await self._registry.run(work))

    async def stop(self, client_id: str, name: str) -> Workspace:
        """Has nothing of it run; address, token and `enabled` stay."""

        async def end() -> Record:
            async with self._registry.turn_of(client_id, name) as found:
                _require_made(found)
                record = found
                if found.wanted != "stopped":
                    record = await self._registry.alter(found, wanted="stopped")
                return await self._registry.bring_about_or_later(record)

        return self._shown(await self._registry.run(end))

    async def delete(self, client_id: str, name: str) -> str:
        """Deletes it, its files and its links; its id. What cannot be undone now is done later."""

        async def remove() -> str:
            async with self._registry.turn_of(client_id, name) as found:
                record = await self._registry.alter(
                    found,
                    voids_tokens=True,
                    also=partial(stored.unlink, identifier=found.id),
                    wanted="deleted",
                    enabled=False,
                    slug=None,
                )
                try:
                    await self._registry.bring_about(record)
                except Failure as failure:
                    self._registry.unsettled(record, failure)
                return record.id

        return await self._registry.run(remove)

    def _shown(self, record: Record) -> Workspace:
        return rules.shown(record, self._honours)

    # --- a new one -----------------------------------------------------------------------------

    def _enter(
        self, connection: Connection, client_id: str, asked: CreateBody
    ) -> tuple[Record, bool]:
        """Puts a new workspace on record, or finds the one of the same request."""
        now, print_ = microseconds(), rules.fingerprint(asked)
        if asked.idempotency_key is not None:
            before = self._asked_before(connection, client_id, asked.idempotency_key, print_, now)
            if before is not None:
                return before, False
        record = self._new(connection, client_id, asked, now)
        stored.add(connection, record)
        if asked.idempotency_key is not None:
            stored.remember(connection, record, asked.idempotency_key, print_)
        self._registry.note(connection, record.id)
        return record, True

    def _asked_before(
        self, connection: Connection, client_id: str, key: str, print_: bytes, now: int
    ) -> Record | None:
        after = now - int(self._registry.limits.idempotency_seconds * _SECOND)
        found = stored.asked_before(connection, client_id, key, after=after)
        if found is None:
            return None
        fingerprint, identifier = found
        if fingerprint != print_:
            raise Failure("conflict", "idempotency_key: used before, with another body")
        record = stored.find(connection, client_id, identifier)
        if record is None:
            raise Failure("conflict", f"idempotency_key: its workspace {identifier} was deleted")
        return record

    def _new(self, connection: Connection, client_id: str, asked: CreateBody, now: int) -> Record:
        identifier = rules.new_id()
        driver, limits = self._registry.driver, self._registry.limits
        name = asked.name or f"workspace-{secrets.token_hex(3)}"
        slug = _slug(connection, client_id, asked.slug, name)
        resources = rules.resources_of(asked)
        number = addresses.take(
            connection,
            identifier,
            most=driver.addresses,
            now=now,
            rested_before=now - int(limits.address_rest_seconds * _SECOND),
            is_free=driver.is_free,
        )
        return Record(
            id=identifier,
            client_id=client_id,
            slug=slug,
            name=name,
            mode=asked.mode,
            image=asked.image,
            namespace=asked.namespace,
            logo=None,
            resources=resources,
            config=rules.config_of(asked.config),
            wanted="running",
            made="making",
            problem=None,
            ip=driver.address(number),
            port=PORT,
            sealed=self._registry.seal(identifier, rules.new_token()),
            generation=1,
            enabled=False,
            policy=Policy(),
            created_at=now,
            updated_at=now,
        )


def _require_made(record: Record) -> None:
    if record.made != "made":
        raise Failure(
            "conflict",
            f"{record.id} is not made yet; POST /workspace/{record.id}/provisioning/retry "
            "tries again",
        )


def _slug(connection: Connection, client_id: str, asked: str | None, name: str) -> str:
    """The slug asked for, or one made of the name that nobody has."""
    if asked is not None:
        if stored.has_slug(connection, client_id, asked):
            raise Failure("conflict", f"slug: {asked} is taken")
        return asked
    slug = rules.slug_of(name)
    while stored.has_slug(connection, client_id, slug):
        slug = f"{rules.slug_of(name)}-{secrets.token_hex(3)}"
    return slug


def _claim_slug(connection: Connection, *, record: Record, slug: str | None) -> None:
    """Raises `Failure` (conflict) where another workspace of the client has the slug."""
    if slug is None or slug == record.slug:
        return
    if stored.has_slug(connection, record.client_id, slug):
        raise Failure("conflict", f"slug: {slug} is taken")

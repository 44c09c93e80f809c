"""Workspaces in the store: records to rows and back, links, idempotency keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Row,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from hutch.control.records import Record
from hutch.control.store.tables import LINKS, REQUESTS, WORKSPACES
from hutch.wire.control.network import Policy
from hutch.wire.control.workspaces import ListQuery, ProvisioningError, Resources, Status

_JSON: dict[str, Any] = {
    "resources": Resources,
    "config": dict[str, Any],
    "problem": ProvisioningError | None,
    "policy": Policy,
}

_ALIVE = WORKSPACES.c.wanted != "deleted"


def add(connection: Connection, record: Record) -> None:
    """Puts a workspace on record."""
    values = {name: getattr(record, name) for name in Record.__slots__}
    connection.execute(insert(WORKSPACES).values(**_row(values)))


def change(connection: Connection, identifier: str, **values: Any) -> None:
    """Changes the fields given."""
    connection.execute(
        update(WORKSPACES).where(WORKSPACES.c.id == identifier).values(**_row(values))
    )


def raise_generation(connection: Connection, identifier: str) -> None:
    """Voids every gateway token that a workspace has."""
    connection.execute(
        update(WORKSPACES)
        .where(WORKSPACES.c.id == identifier)
        .values(generation=WORKSPACES.c.generation + 1)
    )


def get(connection: Connection, identifier: str) -> Record | None:
    """The workspace of an id, one that is being deleted too."""
    row = connection.execute(select(WORKSPACES).where(WORKSPACES.c.id == identifier)).one_or_none()
    return None if row is None else _record(row)


def find(connection: Connection, client_id: str, name: str) -> Record | None:
    """A client's workspace by id or slug; an id counts first, though no slug looks like one."""
    query = (
        select(WORKSPACES)
        .where(WORKSPACES.c.client_id == client_id, _ALIVE)
        .where(or_(WORKSPACES.c.id == name, WORKSPACES.c.slug == name))
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _record(row)


def has_slug(connection: Connection, client_id: str, slug: str) -> bool:
    """Whether a client has a workspace of that slug."""
    query = select(WORKSPACES.c.id).where(
        WORKSPACES.c.client_id == client_id, WORKSPACES.c.slug == slug
    )
    return connection.execute(query).first() is not None


def page(connection: Connection, client_id: str, asked: ListQuery) -> tuple[list[Record], int]:
    """One page of a client's workspaces, the newest first, and how many there are in all."""
    chosen = [WORKSPACES.c.client_id == client_id, _ALIVE]
    if asked.mode is not None:
        chosen.append(WORKSPACES.c.mode == asked.mode)
    if asked.namespace is not None:
        chosen.append(WORKSPACES.c.namespace == asked.namespace)
    if asked.status is not None:
        chosen.append(_has_status(asked.status))
    total = connection.execute(select(func.count()).select_from(WORKSPACES).where(*chosen))
    rows = connection.execute(
        select(WORKSPACES)
        .where(*chosen)
        .order_by(WORKSPACES.c.created_at.desc(), WORKSPACES.c.id)
        .offset((asked.page - 1) * asked.limit)
        .limit(asked.limit)
    )
    return [_record(row) for row in rows], total.scalar_one()


def _has_status(status: Status) -> Any:
    made = WORKSPACES.c.made
    if status in ("running", "stopped"):
        return and_(made == "made", WORKSPACES.c.wanted == status)
    return made == ("making" if status == "creating" else "failed")


def every(connection: Connection) -> list[Record]:
    """Every workspace of every client, those being deleted too."""
    return [_record(row) for row in connection.execute(select(WORKSPACES))]


def forget(connection: Connection, identifier: str) -> None:
    """Takes a workspace off the record."""
    unlink(connection, identifier)
    connection.execute(delete(WORKSPACES).where(WORKSPACES.c.id == identifier))


def unlink(connection: Connection, identifier: str) -> None:
    """Removes every link to and from a workspace."""
    either = or_(LINKS.c.workspace_id == identifier, LINKS.c.peer_id == identifier)
    connection.execute(delete(LINKS).where(either))


def link(connection: Connection, identifier: str, peers: Iterable[str]) -> None:
    """Replaces the workspaces that may reach this one."""
    connection.execute(delete(LINKS).where(LINKS.c.workspace_id == identifier))
    rows = [
        {"workspace_id": identifier, "peer_id": one, "position": index}
        for index, one in enumerate(peers)
    ]
    if rows:
        connection.execute(insert(LINKS), rows)


def peers(connection: Connection, identifier: str) -> list[tuple[str, str]]:
    """The workspaces that may reach this one: (id, ip), in the order given."""
    query = (
        select(WORKSPACES.c.id, WORKSPACES.c.ip)
        .join(LINKS, LINKS.c.peer_id == WORKSPACES.c.id)
        .where(LINKS.c.workspace_id == identifier, _ALIVE)
        .order_by(LINKS.c.position)
    )
    return [(row.id, row.ip) for row in connection.execute(query)]


# --- idempotency keys ------------------------------------------------------------------------


def asked_before(
    connection: Connection, client_id: str, key: str, *, after: int
) -> tuple[bytes, str] | None:
    """The fingerprint and workspace of a request with this key since `after`."""
    connection.execute(delete(REQUESTS).where(REQUESTS.c.created_at <= after))
    query = select(REQUESTS.c.fingerprint, REQUESTS.c.workspace_id).where(
        REQUESTS.c.client_id == client_id, REQUESTS.c.key == key
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.fingerprint, row.workspace_id)


def remember(connection: Connection, record: Record, key: str, fingerprint: bytes) -> None:
    """Binds a key to the workspace that its request made."""
    values = {
        "client_id": record.client_id,
        "key": key,
        "fingerprint": fingerprint,
        "workspace_id": record.id,
        "created_at": record.created_at,
    }
    connection.execute(insert(REQUESTS).values(values))


def _row(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: msgspec.json.encode(value).decode() if name in _JSON and value is not None else value
        for name, value in values.items()
    }


def _record(row: Row[Any]) -> Record:
    values = dict(row._mapping)
    for name, type_ in _JSON.items():
        if values[name] is not None:
            values[name] = msgspec.json.decode(values[name], type=type_)
    return Record(**values)

"""Clients in the store."""

from __future__ import annotations

from sqlalchemy import Connection, Row, delete, insert, select

from hutch.control.records import Client
from hutch.control.store.tables import CLIENTS


def add(connection: Connection, client: Client) -> None:
    """Puts a client on record."""
    values = {
        "id": client.id,
        "name": client.name,
        "digest": client.digest,
        "created_at": client.created_at,
    }
    connection.execute(insert(CLIENTS).values(values))


def find(connection: Connection, identifier: str) -> Client | None:
    """The client of an id."""
    row = connection.execute(select(CLIENTS).where(CLIENTS.c.id == identifier)).one_or_none()
    return None if row is None else _client(row)


def every(connection: Connection) -> list[Client]:
    """All of them, the oldest first."""
    rows = connection.execute(select(CLIENTS).order_by(CLIENTS.c.created_at, CLIENTS.c.id))
    return [_client(row) for row in rows]


def remove(connection: Connection, identifier: str) -> bool:
    """Whether there was one to remove. Raises IntegrityError while it has workspaces."""
    done = connection.execute(delete(CLIENTS).where(CLIENTS.c.id == identifier))
    return done.rowcount > 0


def _client(row: Row[tuple[object, ...]]) -> Client:
    return Client(**row._mapping)

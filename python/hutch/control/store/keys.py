"""Signing keys in the store: one signs, those before it verify until their tokens are over."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from hutch.control.store.tables import KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key as it is kept: `sealed` its private half, `x` its public one."""

    kid: str
    sealed: bytes = field(repr=False)
    x: str
    created_at: int
    retired_at: int | None = None


def current(connection: Connection) -> KeyRecord | None:
    """The key that signs."""
    query = select(KEYS).where(KEYS.c.retired_at.is_(None)).order_by(KEYS.c.created_at.desc())
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else _key(row)


def verifying(connection: Connection, *, retired_after: int) -> list[KeyRecord]:
    """The key that signs, and those retired after a time; the newest first."""
    good = or_(KEYS.c.retired_at.is_(None), KEYS.c.retired_at > retired_after)
    query = select(KEYS).where(good).order_by(KEYS.c.created_at.desc(), KEYS.c.kid)
    return [_key(row) for row in connection.execute(query)]


def replace(connection: Connection, key: KeyRecord) -> None:
    """Puts a new key in force."""
    connection.execute(
        update(KEYS).where(KEYS.c.retired_at.is_(None)).values(retired_at=key.created_at)
    )
    values = {"kid": key.kid, "sealed": key.sealed, "x": key.x, "created_at": key.created_at}
    connection.execute(insert(KEYS).values(values))


def forget(connection: Connection, *, retired_before: int) -> None:
    """Drops keys that were retired before a time."""
    connection.execute(delete(KEYS).where(KEYS.c.retired_at < retired_before))


def _key(row: Row[tuple[object, ...]]) -> KeyRecord:
    return KeyRecord(**row._mapping)

"""Which key file the secrets in the store are under."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from hutch.control.store.tables import META
from hutch.wire.errors import Failure


def check(connection: Connection, fingerprint: str) -> None:
    """Holds the store to one key. Raises `Failure` (conflict) where it is under another."""
    known = connection.execute(select(META.c.vault)).scalar_one()
    if known is None:
        connection.execute(update(META).values(vault=fingerprint))
    elif known != fingerprint:
        raise Failure(
            "conflict",
            "the key file is not the one that this database's secrets are under; give the right "
            "one with --key-file",
        )

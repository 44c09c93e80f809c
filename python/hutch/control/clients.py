"""Making and removing clients.

Belongs here: ids and secrets of clients. Banned here: logins (`logins`). A secret is told once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from hutch.control.records import Client
from hutch.control.store import clients
from hutch.control.store.engine import microseconds
from hutch.control.vault import Vault
from hutch.wire.errors import Failure
from hutch.wire.paths import shorten

_NAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client sends as X-Client-ID and X-Client-Secret."""

    id: str
    secret: str = field(repr=False)


def creating(vault: Vault, name: str) -> Callable[[Connection], Credentials]:
    """A transaction that makes a client: 256 random bits, of which a keyed hash is kept.

    Raises `Failure` (bad_request) for a name that is no word for a line of a list.
    """
    if not name.isprintable() or len(name) > _NAME_LENGTH:
        raise Failure(
            "bad_request", f"--name: {shorten(name)}; at most {_NAME_LENGTH} printable characters"
        )
    made = Credentials(f"client_{secrets.token_hex(8)}", secrets.token_hex(32))

    def write(connection: Connection) -> Credentials:
        client = Client(
            id=made.id, name=name, digest=vault.digest(made.secret), created_at=microseconds()
        )
        clients.add(connection, client)
        return made

    return write


def deleting(identifier: str) -> Callable[[Connection], None]:
    """A transaction that removes a client. Raises `Failure` where it has workspaces or is none."""

    def write(connection: Connection) -> None:
        try:
            if not clients.remove(connection, identifier):
                raise Failure("not_found", f"no such client: {identifier}")
        except IntegrityError:
            raise Failure("conflict", f"{identifier} has workspaces; delete them first") from None

    return write

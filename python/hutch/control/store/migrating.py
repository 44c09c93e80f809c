"""Migrations at start: Alembic, run from inside the package.

Belongs here: bringing a database to the newest revision. Banned here: the revisions
(`migrations/versions`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from hutch.wire.errors import Failure

_PLACE: Final = Path(__file__).parent / "migrations"


def settings(connection: Connection | None = None) -> Config:
    """Alembic's configuration, with the connection to work on."""
    config = Config()
    config.set_main_option("script_location", str(_PLACE).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def migrate(connection: Connection, revision: str = "head") -> None:
    """Brings the database to `revision` within the connection's transaction.

    Raises `Failure` (conflict) where a newer version of Hutch wrote it.
    """
    try:
        command.upgrade(settings(connection), revision)
    except CommandError as error:
        raise Failure(
            "conflict", f"the database cannot be used: {error}; a newer version may have made it"
        ) from None


def newest() -> str | None:
    """The newest revision's name."""
    return ScriptDirectory.from_config(settings()).get_current_head()

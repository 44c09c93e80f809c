"""Engines, transactions, and the threads that they run in.

Belongs here: `Store`, and the little that a database must be told about itself. Banned here:
queries. One writer at a time: each write begins by locking the one row of `meta`, so that changes
are numbered in the order in which they become visible, on any database.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
from sqlalchemy import Connection, create_engine, event, func, make_url, select
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
)

from hutch.control.store.migrating import migrate
from hutch.control.store.tables import META
from hutch.state import try_lock
from hutch.wire.errors import Failure

T = TypeVar("T")

_log: Final = logging.getLogger("hutch.control")

_READERS: Final = 4
_BUSY_SECONDS: Final = 10
_HOLD_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
# "hutch" in ASCII: what a PostgreSQL server knows the lock by, within its database.
_HELD_KEY: Final = 0x6875746368


def microseconds() -> int:
    """Now, as the tables have it."""
    return time.time_ns() // 1000


class Store:
    """Transactions, each in a thread of its kind: one that writes, some that read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writers = trio.CapacityLimiter(1)
        self._readers = trio.CapacityLimiter(_READERS)
        self._written = trio.Event()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs queries that change nothing; each sees what was committed before it."""
        return await trio.to_thread.run_sync(self.read_now, work, limiter=self._readers)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs one transaction that changes something; durable when this returns.

        Raises what `work` raises, and then nothing was changed.
        """
        result = await trio.to_thread.run_sync(
            self.write_now, work, limiter=self._writers, abandon_on_cancel=False
        )
        self.wake()
        return result

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """The same in this thread: for commands that have no other."""
        with _translated(), self._engine.connect() as connection:
            writing = connection.execution_options(hutch_writes=True)
            with writing.begin():
                writing.execute(select(META.c.seq).with_for_update()).one()
                return work(writing)

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """A read in this thread."""
        with _translated(), self._engine.connect() as connection, connection.begin():
            return work(connection)

    @property
    def written(self) -> trio.Event:
        """Fires when something may have been written; to be taken before looking."""
        return self._written

    def wake(self) -> None:
        """Has all who wait for a change look again."""
        self._written.set()
        self._written = trio.Event()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keeps a second control plane off, which would do everything twice; commands may write.

        Blocks for some seconds at most: one that was just killed may be in the way. On PostgreSQL
        the lock is a connection's, so a database that is restarted meanwhile forgets it.
        Raises `Failure` (conflict) where there is another one.
        """
        with _translated(), ExitStack() as held:
            deadline = time.monotonic() + _HOLD_SECONDS
            while not _take(self._engine, held):
                if time.monotonic() > deadline:
                    raise Failure(
                        "conflict",
                        "another control plane uses this database; stop it, or give --database",
                    )
                time.sleep(_POLL_SECONDS)
            kept = held.pop_all()
        with kept:
            yield

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    """A database that is away, full or too busy is no bug, nor is a change beside ours: the next
    try may succeed."""
    try:
        yield
    except IntegrityError as error:
        # What was looked at before is not so any more: the client was removed, say.
        raise Failure("conflict", "changed by somebody else meanwhile; try again") from error
    except (OperationalError, InterfaceError) as error:
        _log.warning("the database: %s", _first_line(error))
        raise Failure("unavailable", "the database cannot be used now; try again") from error


def _take(engine: Engine, held: ExitStack) -> bool:
    """Whether the database is ours, until `held` is closed or this process has ended.

    On a database that is neither of the two there is nothing to take.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            files = {row[1]: row[2] for row in connection.exec_driver_sql("PRAGMA database_list")}
        lock = try_lock(Path(f"{files['main']}-held"))
        if lock is not None:
            held.callback(os.close, lock)
        return lock is not None
    if engine.dialect.name == "postgresql":
        connection = held.enter_context(engine.connect())
        # Without a transaction: one that is open for days would keep the database from tidying up.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # so that it is closed, and the lock with it, not kept for others
        taken = connection.execute(select(func.pg_try_advisory_lock(_HELD_KEY))).scalar_one()
        if not taken:
            held.close()
        return bool(taken)
    return True


def open_store(database: str) -> Store:
    """The store at an SQLAlchemy URL, brought to the newest migration.

    Blocks. Raises `Failure` (bad_request) for a URL that is none or a database that cannot be
    opened; (conflict) where a newer version wrote it.
    """
    try:
        url = make_url(database)
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise Failure("bad_request", "--database: in memory nothing is kept; name a file")
        engine = create_engine(url, **_settings(url))
    except ModuleNotFoundError as error:
        raise Failure(
            "bad_request", f"--database: {error.name} is missing; install the database's driver"
        ) from None
    except (ArgumentError, ValueError) as error:
        # The text of a ValueError is a piece of the URL, and may be one of its password.
        why = f"{_first_line(error)}; " if isinstance(error, ArgumentError) else ""
        raise Failure("bad_request", f"--database: {why}{_WAY_OUT}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        with engine.connect() as connection:
            writing = connection.execution_options(hutch_writes=True)
            with writing.begin():
                migrate(writing)
    except DBAPIError as error:
        shown = url.render_as_string(hide_password=True)
        raise Failure("bad_request", f"--database {shown}: {_first_line(error)}") from None
    return Store(engine)


_WAY_OUT: Final = (
    "give an SQLAlchemy URL such as sqlite:////srv/control.db or "
    "postgresql://user:password@host/name, what is odd in a password as %XX"
)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _settings(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        # Made before SQLite would make it, so that nobody else may read it.
        if not str(url.database).startswith("file:"):
            Path(str(url.database)).touch(mode=0o600)
        return {"connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False}}
    return {"pool_pre_ping": True}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's module would begin transactions by itself, and too late.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A read that turns into a write could not wait for another writer: it would fail at once.
    writes = connection.get_execution_options().get("hutch_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

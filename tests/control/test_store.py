"""The store by itself, on each database there is: migrations, addresses, changes, keys.

Source: design, "Store"; wire contract, sections 9 and 10.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, func, select, text, update

from hutch.control.clients import creating, deleting
from hutch.control.records import Client, Record
from hutch.control.signing import forgetting, providing, rotating
from hutch.control.store import (
    addresses,
    changes,
    clients,
    engine,
    keys,
    migrating,
    vaults,
    workspaces,
)
from hutch.control.store.engine import Store, microseconds, open_store
from hutch.control.store.tables import CHANGES, KEYS, METADATA
from hutch.control.vault import Vault
from hutch.wire.control.config import ControlLimits
from hutch.wire.control.network import Policy
from hutch.wire.control.workspaces import ListQuery, Resources
from hutch.wire.errors import Failure
from tests.controlling import controlling

VAULT = Vault(bytes(32))
SECOND = 1_000_000


def _postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    where = found[-1] if found else shutil.which("initdb")
    return None if where is None else Path(where).resolve().parent


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own, on a socket; its URL without a database."""
    programs = _postgres_bin()
    if programs is None:
        pytest.skip("needs PostgreSQL")
    # Not in pytest's directories: as root another user is not let into them.
    place = Path(tempfile.mkdtemp(prefix="hutch-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        if subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode:
            pytest.skip("needs the user postgres: PostgreSQL does not run as root")
        shutil.chown(place, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(*words: str) -> None:
        line = [*as_user, str(programs / words[0]), *words[1:]]
        done = subprocess.run(
            line, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, cwd="/"
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"

    data = place / "data"
    run("initdb", "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-k {place} -c listen_addresses= -c fsync=off"
    run("pg_ctl", "-D", str(data), "-w", "-l", str(place / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://postgres@/{{name}}?host={place}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(place)


_NUMBER = iter(range(1_000_000))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'control.db'}"
    pattern: str = request.getfixturevalue("postgres")
    name = f"test_{next(_NUMBER)}"
    make_database(pattern, name)
    return pattern.format(name=name)


def make_database(pattern: str, name: str) -> None:
    engine = create_engine(pattern.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    one = open_store(url)
    yield one
    one.close()


def record(identifier: str = "ws_a", **changed: Any) -> Record:
    given: dict[str, Any] = {
        "id": identifier,
        "client_id": "client_a",
        "slug": identifier.replace("_", "-"),
        "name": "\u00dcber",
        "mode": "permanent",
        "image": "",
        "namespace": None,
        "logo": None,
        "resources": Resources(cpus=0.5),
        "config": {"a": [1, None, "\u2028"]},
        "wanted": "running",
        "made": "made",
        "problem": None,
        "ip": "127.1.0.1",
        "port": 9990,
        "sealed": b"\x00\xff",
        "generation": 1,
        "enabled": False,
        "policy": Policy(ingress_ports=[80]),
        "created_at": 2**52,
        "updated_at": 2**52,
    }
    return Record(**{**given, **changed})


def add_client(connection: Connection, identifier: str = "client_a") -> None:
    clients.add(connection, Client(id=identifier, name="", digest=bytes(32), created_at=1))


# --- migrations ------------------------------------------------------------------------------


def test_the_migrations_lead_to_the_tables(store: Store) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    assert store.read_now(differences) == []


def test_opening_again_changes_nothing(url: str) -> None:
    first = open_store(url)
    first.write_now(add_client)
    first.close()
    again = open_store(url)
    assert [one.id for one in again.read_now(clients.every)] == ["client_a"]
    again.close()


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    store = open_store(url)
    store.write_now(lambda one: one.execute(text("UPDATE alembic_version SET version_num='9999'")))
    store.close()
    with pytest.raises(Failure, match="newer"):
        open_store(url)


def test_there_is_one_newest_revision() -> None:
    assert migrating.newest() is not None


@pytest.mark.parametrize(
    "database",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "nosuch://x",
        "mysql://user:secret@host/name",
        "postgresql://user:secret@host:port/name",
        "postgresql://user:secret:secret/@host/name",
        "sqlite:////proc/nowhere/control.db",
    ],
)
def test_a_database_that_is_none_is_named(database: str) -> None:
    with pytest.raises((Failure, OSError)) as caught:
        open_store(database)
    assert "--database" in str(caught.value) or "/proc/nowhere" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_sqlite_file_is_private(tmp_path: Path) -> None:
    place = tmp_path / "control.db"
    open_store(f"sqlite:///{place}").close()
    assert place.stat().st_mode & 0o777 == 0o600


# --- transactions ----------------------------------------------------------------------------


def test_what_fails_changes_nothing(store: Store) -> None:
    def fail(connection: Connection) -> None:
        add_client(connection)
        raise Failure("conflict", "no")

    with pytest.raises(Failure):
        store.write_now(fail)
    assert store.read_now(clients.every) == []


def test_a_database_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    place = tmp_path / "control.db"
    store = open_store(f"sqlite:///{place}")
    store.read_now(clients.every)
    store.close()
    for one in tmp_path.glob("control.db*"):
        one.unlink()
    place.mkdir()
    for call in (store.read_now, store.write_now):
        with pytest.raises(Failure) as caught:
            call(clients.every)
        assert caught.value.code == "unavailable"


def test_writers_take_turns(store: Store) -> None:
    """Twenty threads, each reading what it then writes: none is lost, none fails."""
    store.write_now(add_client)
    store.write_now(partial(workspaces.add, record=record()))

    def one_more(connection: Connection) -> None:
        found = workspaces.get(connection, "ws_a")
        assert found is not None
        workspaces.change(connection, "ws_a", generation=found.generation + 1)
        changes.note(connection, "ws_a", keep=1000)

    threads = [threading.Thread(target=store.write_now, args=(one_more,)) for _ in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = store.read_now(partial(workspaces.get, identifier="ws_a"))
    assert found is not None
    assert found.generation == 21
    assert store.read_now(lambda one: one.scalar(select(func.count()).select_from(CHANGES))) == 20


# --- records ---------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    store.write_now(add_client)
    store.write_now(partial(workspaces.add, record=record()))
    assert store.read_now(partial(workspaces.get, identifier="ws_a")) == record()
    look = partial(workspaces.find, client_id="client_a", name="ws-a")
    assert store.read_now(look) == record()
    assert store.read_now(partial(workspaces.find, client_id="client_b", name="ws_a")) is None


def test_a_slug_is_a_clients_own_and_null_is_nobodys(store: Store) -> None:
    def write(connection: Connection) -> None:
        add_client(connection)
        add_client(connection, "client_b")
        workspaces.add(connection, record("ws_a", slug="same"))
        workspaces.add(connection, record("ws_b", slug="same", client_id="client_b"))
        workspaces.add(connection, record("ws_c", slug=None))
        workspaces.add(connection, record("ws_d", slug=None))

    store.write_now(write)
    with pytest.raises(Failure, match="meanwhile"):
        store.write_now(partial(workspaces.add, record=record("ws_e", slug="same")))
    with pytest.raises(Failure, match="meanwhile"):
        store.write_now(partial(workspaces.add, record=record("ws_f", client_id="client_c")))


def test_a_deleted_workspace_is_in_no_list(store: Store) -> None:
    def write(connection: Connection) -> None:
        add_client(connection)
        workspaces.add(connection, record("ws_a", wanted="deleted", slug=None))
        workspaces.add(connection, record("ws_b"))
        workspaces.link(connection, "ws_b", ["ws_a"])

    store.write_now(write)
    page = store.read_now(partial(workspaces.page, client_id="client_a", asked=ListQuery()))
    assert ([one.id for one in page[0]], page[1]) == (["ws_b"], 1)
    assert store.read_now(partial(workspaces.peers, identifier="ws_b")) == []
    assert len(store.read_now(workspaces.every)) == 2
    store.write_now(partial(workspaces.forget, identifier="ws_a"))
    assert len(store.read_now(workspaces.every)) == 1


def test_an_idempotency_key_is_remembered_for_its_time(store: Store) -> None:
    store.write_now(partial(workspaces.remember, record=record(), key="k", fingerprint=b"f"))
    for after, wanted in ((2**52 - 1, (b"f", "ws_a")), (2**52, None), (0, None)):
        look = partial(workspaces.asked_before, client_id="client_a", key="k", after=after)
        assert store.write_now(look) == wanted


def test_a_client_with_workspaces_stays(store: Store) -> None:
    made = store.write_now(creating(VAULT, "name"))
    store.write_now(partial(workspaces.add, record=record(client_id=made.id)))
    with pytest.raises(Failure, match="delete them first"):
        store.write_now(deleting(made.id))
    store.write_now(partial(workspaces.forget, identifier="ws_a"))
    store.write_now(deleting(made.id))
    with pytest.raises(Failure, match="no such client"):
        store.write_now(deleting(made.id))


def test_a_secret_is_kept_as_a_keyed_hash(store: Store) -> None:
    made = store.write_now(creating(VAULT, "name"))
    (kept,) = store.read_now(clients.every)
    assert kept.digest == VAULT.digest(made.secret)
    assert kept.digest != Vault(bytes(31) + b"1").digest(made.secret)
    assert len(bytes.fromhex(made.secret)) == 32


# --- addresses -------------------------------------------------------------------------------


def taker(
    store: Store, *, now: int = 0, is_free: Callable[[int], bool] = lambda _: True
) -> Callable[[str], int]:
    def take(workspace: str) -> int:
        work = partial(
            addresses.take,
            workspace_id=workspace,
            most=3,
            now=now,
            rested_before=now - 600 * SECOND,
            is_free=is_free,
        )
        return store.write_now(work)

    return take


def test_an_address_rests_before_it_is_given_out_again(store: Store) -> None:
    assert [taker(store)(name) for name in ("a", "b", "c")] == [1, 2, 3]
    store.write_now(partial(addresses.release, workspace_id="b", now=0))
    store.write_now(partial(addresses.release, workspace_id="a", now=5 * SECOND))
    with pytest.raises(Failure, match="no address is free") as caught:
        taker(store, now=600 * SECOND - 1)("d")
    assert caught.value.code == "unavailable"
    assert taker(store, now=600 * SECOND)("d") == 2
    assert taker(store, now=605 * SECOND)("e") == 1


def test_a_new_address_comes_before_one_that_was_used(store: Store) -> None:
    assert taker(store)("a") == 1
    store.write_now(partial(addresses.release, workspace_id="a", now=0))
    assert taker(store, now=10**15)("b") == 2


def test_an_address_that_something_else_holds_is_left_out(store: Store) -> None:
    assert taker(store, is_free=lambda number: number != 1)("a") == 2
    assert taker(store, now=600 * SECOND)("b") == 3
    assert taker(store, now=600 * SECOND)("c") == 1


# --- changes ---------------------------------------------------------------------------------


def test_changes_are_told_in_order_and_once_each(store: Store) -> None:
    store.write_now(partial(changes.begin, now=100))
    for one in ("a", "b", "a"):
        store.write_now(partial(changes.note, workspace_id=one, keep=1000))
    told = store.read_now(partial(changes.since, seq=100))
    assert (told.seq, told.workspaces) == (103, ["a", "b"])
    assert store.read_now(partial(changes.since, seq=102)).workspaces == ["a"]
    assert store.read_now(partial(changes.since, seq=103)).workspaces == []


def test_a_restart_keeps_what_is_known(store: Store) -> None:
    store.write_now(partial(changes.begin, now=100))
    store.write_now(partial(changes.note, workspace_id="a", keep=1000))
    store.write_now(partial(changes.begin, now=5000))
    told = store.read_now(partial(changes.since, seq=101))
    assert (told.seq, told.workspaces) == (5000, [])


def test_a_number_of_a_store_that_was_lost_is_not_known(store: Store) -> None:
    # An older copy was put in place; meanwhile the lost one had come to 250.
    store.write_now(partial(changes.begin, now=100))
    store.write_now(partial(changes.begin, now=5000))
    for unknown in (99, 250, 5001):
        assert store.read_now(partial(changes.since, seq=unknown)).workspaces is None


def test_a_clock_that_goes_back_does_not_take_numbers_back(store: Store) -> None:
    store.write_now(partial(changes.begin, now=5000))
    store.write_now(partial(changes.begin, now=100))
    assert store.read_now(partial(changes.since, seq=5000)).seq == 5001


def test_old_changes_are_forgotten(store: Store) -> None:
    def many(connection: Connection) -> None:
        changes.begin(connection, 10_000)
        for _ in range(1000):
            changes.note(connection, "a", keep=10)

    store.write_now(many)
    assert store.read_now(partial(changes.since, seq=10_000)).workspaces is None
    assert store.read_now(partial(changes.since, seq=10_995)).workspaces == ["a"]
    assert store.read_now(lambda one: one.scalar(select(func.count()).select_from(CHANGES))) == 10


def test_many_changes_are_told_by_and_by(store: Store) -> None:
    def many(connection: Connection) -> None:
        changes.begin(connection, 0)
        for number in range(1500):
            changes.note(connection, f"ws_{number}", keep=10_000)

    store.write_now(many)
    first = store.read_now(partial(changes.since, seq=1))
    assert first.workspaces is not None
    second = store.read_now(partial(changes.since, seq=first.seq))
    assert second.workspaces is not None
    assert len(first.workspaces) + len(second.workspaces) == 1500


# --- keys ------------------------------------------------------------------------------------


def test_a_key_that_was_replaced_verifies_for_its_tokens_time(store: Store) -> None:
    store.write_now(providing(VAULT))
    store.write_now(providing(VAULT))
    (first,) = store.read_now(partial(keys.verifying, retired_after=0))
    second = store.write_now(rotating(VAULT))
    found = store.read_now(partial(keys.verifying, retired_after=0))
    assert [one.kid for one in found] == [second, first.kid]
    retired = found[1].retired_at
    assert retired is not None
    assert len(store.read_now(partial(keys.verifying, retired_after=retired))) == 1
    current = store.read_now(keys.current)
    assert current is not None
    assert current.kid == second


def test_a_rotation_drops_no_key_of_a_server_whose_tokens_last_longer(store: Store) -> None:
    day = 86_400_000_000
    store.write_now(providing(VAULT))
    store.write_now(rotating(VAULT))
    retired = update(KEYS).where(KEYS.c.retired_at.is_not(None))
    store.write_now(lambda c: c.execute(retired.values(retired_at=microseconds() - 40 * day)))
    store.write_now(rotating(VAULT))  # a command: it has no server's limits
    for days, left in ((90, 3), (30, 2)):
        store.write_now(forgetting(ControlLimits(workspace_token_days=days)))
        assert len(store.read_now(partial(keys.verifying, retired_after=0))) == left


def test_a_store_belongs_to_one_key_file(store: Store) -> None:
    for _ in range(2):
        store.write_now(partial(vaults.check, fingerprint=VAULT.fingerprint))
    with pytest.raises(Failure, match="--key-file"):
        other = Vault(bytes(31) + b"1").fingerprint
        store.write_now(partial(vaults.check, fingerprint=other))


def test_a_second_control_plane_is_kept_off(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_HOLD_SECONDS", 0.2)
    other = open_store(url)
    try:
        with store.holding():
            with pytest.raises(Failure, match="another control plane"), other.holding():
                raise AssertionError("two at once")
            other.write_now(partial(vaults.check, fingerprint=VAULT.fingerprint))  # commands may
        with other.holding(), pytest.raises(Failure), store.holding():
            raise AssertionError("two at once")
    finally:
        other.close()


# --- a whole control plane -------------------------------------------------------------------


def test_a_control_plane_on_postgresql(postgres: str, tmp_path: Path) -> None:
    name = f"whole_{next(_NUMBER)}"
    make_database(postgres, name)
    with controlling(tmp_path, f"--database={postgres.format(name=name)}") as plane:
        with plane.account() as account, plane.account() as stranger:
            body = {"name": "\u00dcber", "idempotency_key": "k", "config": {"a": "\0"}}
            made = account.create(**body)
            assert account.ok("POST", "/workspace", body)["workspace"] == made
            assert made["config"] == {"a": "\0"}
            seq = plane.internal("/changes").json()["seq"]
            path = f"/workspace/{made['id']}"
            other = account.create()
            account.ok("PATCH", f"{path}/network", {"private_link_ids": [other["id"]]})
            account.ok("DELETE", f"/workspace/{other['id']}")
            assert account.ok("GET", f"{path}/network")["private_links"] == []
            told = plane.internal("/changes", since=seq).json()["workspaces"]
            assert set(told) == {made["id"], other["id"]}
            for odd in ("%00", "%ff"):
                url = httpx2.URL(f"{plane.url}/workspace/{odd}")
                assert account.http.get(url).status_code == 404
            for field in ("name", "namespace", "image", "idempotency_key"):
                account.failure("POST", "/workspace", 400, body={field: "a\0b"})
            stranger.failure("GET", path, 404)
            plane.kill()
            plane.start()
            assert account.json("/workspace")["total"] == 1
    assert not (tmp_path / "state" / "control.db").exists()

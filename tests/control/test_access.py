"""Access to the server in a workspace: every row of the table, and what it does to the server.

Source: wire contract, section 9; reference, "Connection & Auth".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hutch.tokens import Claims, Jwk, PublicKeys, TokenRefused, verify
from tests.client import Client, Json
from tests.controlling import Account, Controlled, runtime, until

NAMES = ("runtime-api-access", "internal-api-access")


@pytest.fixture(scope="module")
def served(account: Account) -> Json:
    """A workspace whose server runs; tests leave it enabled."""
    identifier, _ = account.enabled(slug="served")
    return account.json(f"/workspace/{identifier}")["workspace"]  # type: ignore[no-any-return]


@pytest.fixture(params=NAMES)
def at(request: Any, served: Json) -> str:
    """The endpoints of it, under each of both names."""
    return f"/workspace/{served['id']}/{request.param}"


@pytest.fixture
def server(account: Account, served: Json) -> Iterator[Client]:
    """A direct client of the server, with the raw token of now."""
    with runtime(account.raw(served["id"])) as one:
        yield one


def keys(plane: Controlled) -> PublicKeys:
    return PublicKeys(Jwk(**one) for one in plane.internal("/keys").json()["keys"])


def claims(plane: Controlled, told: Json) -> Claims:
    return verify(told["token"], keys(plane))


def generation(plane: Controlled, workspace: Json) -> int:
    return int(plane.internal(f"/routes/{workspace['id']}").json()["generation"])


def seconds(told: Json, plane: Controlled) -> float:
    """How long a token lasts, by its own claims; what the answer says must agree."""
    found = claims(plane, told)
    assert datetime.fromisoformat(told["expires_at"]).timestamp() == found.exp
    assert abs(found.iat - time.time()) < 60
    return found.exp - found.iat


def test_status(account: Account, at: str) -> None:
    told = account.ok("GET", at)
    assert (told["enabled"], told["running"], told["is_running"]) == (True, True, True)


def test_status_before_anybody_enabled_it(account: Account) -> None:
    made = account.create()
    for name in NAMES:
        told = account.ok("GET", f"/workspace/{made['id']}/{name}")
        assert (told["enabled"], told["running"], told["is_running"]) == (False, False, False)


def test_enable_again_restarts_nothing(
    plane: Controlled, account: Account, served: Json, at: str, server: Client
) -> None:
    pid = plane.servers()[served["id"]]
    first, second = account.ok("POST", f"{at}/enable"), account.ok("POST", f"{at}/enable")
    assert first["enabled"] is True
    assert first["token"] != second["token"]
    assert seconds(first, plane) == 3600
    assert plane.servers()[served["id"]] == pid
    assert server.get("/runtime").status_code == 200


def test_a_token_names_the_workspace_and_where_it_is(
    plane: Controlled, account: Account, served: Json, at: str
) -> None:
    found, raw = claims(plane, account.ok("GET", f"{at}/token")), account.raw(served["id"])
    assert (found.sub, found.ip, found.port) == (served["id"], raw["ip"], raw["port"])
    assert found.gen == generation(plane, served)
    again = claims(plane, account.ok("GET", f"{at}/token"))
    assert again.jti != found.jti


def test_getting_a_token_revokes_nothing(
    plane: Controlled, account: Account, served: Json, at: str, server: Client
) -> None:
    before = generation(plane, served)
    told = account.ok("GET", f"{at}/token")
    assert (told["enabled"], seconds(told, plane)) == (True, 3600)
    assert generation(plane, served) == before
    assert server.get("/runtime").status_code == 200


def test_the_long_token_lasts_30_days(
    plane: Controlled, account: Account, served: Json, at: str
) -> None:
    before = generation(plane, served)
    told = account.ok("POST", f"{at}/workspace")
    assert seconds(told, plane) == 30 * 86400
    assert claims(plane, told).gen == before == generation(plane, served)


def test_the_raw_token_opens_the_server(account: Account, at: str) -> None:
    told = account.ok("GET", f"{at}/token/raw")
    assert int(told["token"], 16) > 0
    assert len(told["token"]) == 64
    assert told["port"] == 9990
    with runtime(told) as server:
        assert server.get("/runtime").status_code == 200
    with runtime(told, token="0" * 64) as server:
        assert server.get("/runtime").status_code == 401


def test_rotation_reaches_the_server_without_a_restart(
    plane: Controlled, account: Account, served: Json, at: str, server: Client, tmp_path: Path
) -> None:
    body = {"cmd": ["sleep", "60"], "background": True}
    task = server.request("POST", "/exec", body=body).json()["id"]
    terminal = server.request("POST", "/terminals", body={"cmd": ["sleep", "60"]}).json()["id"]
    watcher = server.request("POST", "/watchers", body={"path": str(tmp_path)}).json()["id"]
    old = account.ok("POST", f"{at}/workspace")
    pid, before = plane.servers()[served["id"]], generation(plane, served)

    told = account.ok("POST", f"{at}/token")

    assert (told["enabled"], seconds(told, plane)) == (True, 3600)
    assert generation(plane, served) == claims(plane, told).gen == before + 1
    # The long one too: its signature holds, its generation does not.
    assert claims(plane, old).gen == before
    assert server.get("/runtime").status_code == 401
    assert plane.servers()[served["id"]] == pid
    with runtime(account.raw(served["id"])) as now:
        assert now.json(f"/exec/{task}")["status"] == "running"
        (session,) = now.json("/terminals")["terminals"]
        assert (session["id"], session["alive"]) == (terminal, True)
        assert now.json(f"/watchers/{watcher}")["watcher"]["active"] is True
        for one in (f"/exec/{task}", f"/terminals/{terminal}", f"/watchers/{watcher}"):
            assert now.request("DELETE", one).status_code == 200


def test_rotation_ends_what_the_old_token_opened(account: Account, at: str, server: Client) -> None:
    body = {"cmd": ["sleep", "60"], "stream": True}
    with server.http.stream("POST", "/exec/stream", json=body) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        account.ok("POST", f"{at}/token")
        with pytest.raises(httpx2.HTTPError):
            for _ in chunks:
                pass


def test_50_rotations_at_once_leave_one_token(
    plane: Controlled, account: Account, served: Json
) -> None:
    path, before = f"/workspace/{served['id']}/{NAMES[0]}/token", generation(plane, served)
    told: list[Json] = []

    def rotate() -> None:
        with Account(account.url, account.id, account.secret) as again:
            told.append(again.ok("POST", path))

    threads = [threading.Thread(target=rotate) for _ in range(50)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = sorted(claims(plane, one).gen for one in told)
    assert found == list(range(before + 1, before + 51))
    assert generation(plane, served) == before + 50
    raw = account.raw(served["id"])
    assert plane.internal(f"/routes/{served['id']}").json()["token"] == raw["token"]
    with runtime(raw) as server:
        assert server.get("/runtime").status_code == 200


def test_while_disabled(plane: Controlled, account: Account) -> None:
    made = account.create()
    for name in NAMES:
        path = f"/workspace/{made['id']}/{name}"
        for method, tail in (("GET", "token"), ("POST", "token"), ("POST", "workspace")):
            told = account.failure(method, f"{path}/{tail}", 409)
            assert (told["code"], "enable" in told["error"]) == ("conflict", True)
        told = account.ok("POST", f"{path}/disable")
        assert (told["enabled"], told["running"]) == (False, False)
    assert generation(plane, made) == 1


def test_a_workspace_that_does_not_run_cannot_be_enabled(account: Account) -> None:
    made = account.create()
    account.ok("POST", f"/workspace/{made['id']}/stop")
    for name in NAMES:
        told = account.failure("POST", f"/workspace/{made['id']}/{name}/enable", 409)
        assert "start" in told["error"]
        assert account.ok("GET", f"/workspace/{made['id']}/{name}")["enabled"] is False


def test_disable_ends_sessions_streams_and_tokens(plane: Controlled, account: Account) -> None:
    identifier, raw = account.enabled()
    path = f"/workspace/{identifier}/{NAMES[0]}"
    before = claims(plane, account.ok("POST", f"{path}/workspace"))
    with runtime(raw) as server:
        body = {"cmd": "echo $$; sleep 60", "stream": True}
        with server.http.stream("POST", "/exec/stream", json=body) as answer:
            assert answer.status_code == 200
            disabler = threading.Thread(target=lambda: account.ok("POST", f"{path}/disable"))
            disabler.start()
            events = answer.read().decode()
            disabler.join()
    assert "event: exit" in events
    told = account.ok("GET", path)
    assert (told["enabled"], told["running"], told["is_running"]) == (False, False, False)
    assert identifier not in plane.servers()
    with runtime(raw) as server, pytest.raises(httpx2.ConnectError):
        server.get("/health")
    route = plane.internal(f"/routes/{identifier}").json()
    assert (route["enabled"], route["generation"]) == (False, before.gen + 1)
    # Enabled again it has the same address and raw token, and the old gateway tokens stay void.
    account.ok("POST", f"{path}/enable")
    assert account.raw(identifier) == raw
    assert generation(plane, {"id": identifier}) == before.gen + 1


def test_address_token_and_enabled_survive_stop_start_and_restart(
    plane: Controlled, account: Account
) -> None:
    identifier, raw = account.enabled()
    path = f"/workspace/{identifier}"
    pids = {plane.servers()[identifier]}
    account.ok("POST", f"{path}/stop")
    assert identifier not in plane.servers()
    told = account.ok("GET", f"{path}/{NAMES[0]}")
    assert (told["enabled"], told["running"]) == (True, False)
    assert plane.internal(f"/routes/{identifier}").json()["running"] is False
    account.ok("POST", f"{path}/{NAMES[0]}/token")
    raw = account.raw(identifier)
    for verb in ("start", "restart"):
        account.ok("POST", f"{path}/{verb}")
        pids.add(plane.servers()[identifier])
        assert account.raw(identifier) == raw
        assert account.ok("GET", f"{path}/{NAMES[0]}")["running"] is True
        with runtime(raw) as server:
            assert server.get("/runtime").status_code == 200
    assert len(pids) == 3


def test_workspaces_have_homes_of_their_own(account: Account, served: Json, server: Client) -> None:
    told = server.request("POST", "/exec", body={"cmd": 'echo "$HOME"; pwd; env'}).json()
    home, cwd, *environment = told["stdout"].splitlines()
    assert home == cwd
    assert served["id"] in home
    assert not [one for one in environment if one.startswith(("HUTCH", "OBLIEN"))]


def test_enable_while_another_enable_is_under_way(plane: Controlled, account: Account) -> None:
    made = account.create()
    told: list[Json] = []

    def enable() -> None:
        with Account(account.url, account.id, account.secret) as again:
            told.append(again.ok("POST", f"/workspace/{made['id']}/{NAMES[0]}/enable"))

    threads = [threading.Thread(target=enable) for _ in range(5)]
    for one in threads:
        one.start()
    pid = until(lambda: plane.servers().get(made["id"]), "a server is started")
    for one in threads:
        one.join()
    assert len({one["token"] for one in told}) == 5
    assert plane.servers()[made["id"]] == pid


def test_a_server_that_cannot_start_is_told_of_and_not_enabled(
    plane: Controlled, account: Account
) -> None:
    made = account.create()
    state = plane.state_dir / "workspaces" / made["id"] / "state"
    state.write_text("in the way")
    told = account.failure("POST", f"/workspace/{made['id']}/{NAMES[0]}/enable", 503)
    assert made["id"] in told["error"]
    assert account.ok("GET", f"/workspace/{made['id']}/{NAMES[0]}")["enabled"] is False
    state.unlink()
    account.ok("POST", f"/workspace/{made['id']}/{NAMES[0]}/enable")


def test_a_new_signing_key_takes_over_and_the_old_one_verifies(
    plane: Controlled, account: Account, at: str
) -> None:
    old = account.ok("POST", f"{at}/workspace")
    before = set(keys(plane))
    plane.command("keys", "rotate")
    new = account.ok("GET", f"{at}/token")
    found = keys(plane)
    assert before < set(found)
    assert claims(plane, old).sub == claims(plane, new).sub
    latest = PublicKeys(Jwk(**one) for one in plane.internal("/keys").json()["keys"][:1])
    assert verify(new["token"], latest)
    with pytest.raises(TokenRefused):
        verify(old["token"], latest)


def test_no_token_is_in_a_log_or_in_the_database(
    plane: Controlled, account: Account, served: Json
) -> None:
    raw, token = account.raw(served["id"]), account.ok("GET", f"/workspace/served/{NAMES[0]}/token")
    account.ok("GET", f"/workspace/served/{NAMES[0]}/token/raw")
    logs = plane.log.read_text() + (
        plane.state_dir / "workspaces" / served["id"] / "log"
    ).read_text(errors="replace")
    records = b"".join(one.read_bytes() for one in plane.state_dir.glob("control.db*"))
    for secret in (raw["token"], token["token"], account.secret):
        assert secret not in logs
        assert secret.encode() not in records
        assert bytes.fromhex(secret) not in records if secret != token["token"] else True
    for name in ("control.db", "secret.key", "gateway.token", f"workspaces/{served['id']}/token"):
        assert (plane.state_dir / name).stat().st_mode & 0o077 == 0, name

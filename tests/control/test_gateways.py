"""What gateways are told, and when: the second listener.

Source: wire contract, section 9.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx2
import pytest

from tests.client import Json
from tests.controlling import Account, Controlled

ACCESS = "runtime-api-access"


def seq(plane: Controlled) -> int:
    return int(plane.internal("/changes").json()["seq"])


def changed(plane: Controlled, since: int, wait: int = 0) -> Json:
    return dict(plane.internal("/changes", since=since, wait=wait).json())


@pytest.mark.parametrize("path", ["/routes/ws_1", "/changes", "/keys", "/nope", "/openapi.json"])
def test_nobody_else_is_told_anything(plane: Controlled, account: Account, path: str) -> None:
    attempts: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer wrong"},
        {"X-Client-ID": account.id, "X-Client-Secret": account.secret},
    )
    for headers in attempts:
        answer = httpx2.get(plane.internal_url + path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert httpx2.get(f"{plane.internal_url}/health").json() == {"status": "ok"}
    assert account.get(path).status_code in (404, 200 if path == "/openapi.json" else 404)


def test_a_route(plane: Controlled, account: Account, workspace: Json) -> None:
    raw = account.raw(workspace["id"])
    assert plane.internal(f"/routes/{workspace['id']}").json() == {
        "workspace_id": workspace["id"],
        "address": raw["ip"],
        "port": raw["port"],
        "token": raw["token"],
        "generation": 1,
        "enabled": False,
        "running": True,
        "public_access": False,
    }


def test_an_unknown_route_is_404(plane: Controlled, account: Account) -> None:
    made = account.create()
    account.ok("DELETE", f"/workspace/{made['id']}")
    # By id alone: slugs are a client's own.
    for name in ("ws_0123456789abcdef", made["id"], account.create(slug="a-slug")["slug"], "%2e"):
        answer = plane.internal(f"/routes/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


CHANGES: dict[str, tuple[str, str, Any]] = {
    "public access": ("PATCH", "/network", {"public_access": True}),
    "an update": ("PUT", "", {"name": "New"}),
    "stop": ("POST", "/stop", None),
    "start": ("POST", "/start", None),
    "enabling": ("POST", f"/{ACCESS}/enable", None),
    "rotation": ("POST", f"/{ACCESS}/token", None),
    "disabling": ("POST", f"/{ACCESS}/disable", None),
    "deletion": ("DELETE", "", None),
}


def test_every_change_is_there_when_the_client_hears_of_it(
    plane: Controlled, account: Account
) -> None:
    before = seq(plane)
    made = account.create()
    assert changed(plane, before)["workspaces"] == [made["id"]]
    for name, (method, tail, body) in CHANGES.items():
        before = seq(plane)
        account.ok(method, f"/workspace/{made['id']}{tail}", body)
        told = changed(plane, before)
        assert told["workspaces"] == [made["id"]], name
        assert told["seq"] > before
        assert changed(plane, told["seq"]) == {"seq": told["seq"], "workspaces": []}


def test_reading_changes_nothing(plane: Controlled, account: Account, workspace: Json) -> None:
    before = seq(plane)
    account.json("/workspace")
    account.ok("GET", f"/workspace/{workspace['id']}/network")
    account.raw(workspace["id"])
    account.failure("POST", f"/workspace/{workspace['id']}/{ACCESS}/token", 409)
    assert changed(plane, before) == {"seq": before, "workspaces": []}


def test_who_waits_hears_at_once(plane: Controlled, account: Account, workspace: Json) -> None:
    before, told = seq(plane), []
    waiting = threading.Thread(target=lambda: told.append(changed(plane, before, wait=50)))
    waiting.start()
    account.ok("PATCH", f"/workspace/{workspace['id']}/network", {"public_access": True})
    waiting.join(10)
    assert told and told[0]["workspaces"] == [workspace["id"]]


def test_a_wait_ends_in_time(plane: Controlled) -> None:
    begun, before = time.monotonic(), seq(plane)
    assert changed(plane, before, wait=1) == {"seq": before, "workspaces": []}
    assert time.monotonic() - begun >= 1


def test_a_number_that_is_not_known_resets(plane: Controlled) -> None:
    now = seq(plane)
    for unknown in (0, 1, now - 10**9, now + 1, now + 10**9):
        assert changed(plane, unknown, wait=50) == {"seq": now, "reset": True}


@pytest.mark.parametrize("query", ["since=-1", "since=x", "wait=-1", "wait=3601"])
def test_a_bad_parameter_is_400(plane: Controlled, query: str) -> None:
    name, _, value = query.partition("=")
    answer = plane.internal("/changes", **{name: value})
    assert (answer.status_code, name in answer.json()["error"]) == (400, True)


def test_keys_are_public_halves(plane: Controlled) -> None:
    (key, *_) = plane.internal("/keys").json()["keys"]
    assert set(key) == {"kid", "kty", "crv", "x"}
    assert (key["kty"], key["crv"], len(key["x"])) == ("OKP", "Ed25519", 43)

"""Workspaces: made, seen, changed, deleted; each belongs to its client.

Source: wire contract, section 9.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import httpx2
import pytest

from hutch.control.http.app import TABLE
from hutch.wire.control.network import PolicyBody
from hutch.wire.control.workspaces import CreateBody, UpdateBody
from tests.client import Json
from tests.controlling import Account, Controlled

ROUTES = {f"{one.method} {one.path}": one for one in TABLE.routes}
OWNED = sorted(name for name, one in ROUTES.items() if "{id}" in one.path)


def of(route: str, identifier: str) -> tuple[str, str]:
    method, _, path = route.partition(" ")
    return method, path.replace("{id}", identifier)


def test_a_new_workspace_has_every_documented_field(account: Account) -> None:
    made = account.create(name="My API")
    assert re.fullmatch(r"ws_[0-9a-f]{16}", made["id"])
    assert made["name"] == "My API"
    assert made["slug"].startswith("my-api")
    assert (made["status"], made["ready"]) == ("running", True)
    assert made["info"] == {"status": "running", "is_running": True}
    assert made["provisioning"] is None
    assert made["mode"] == "permanent"
    assert {"image", "namespace", "resources", "created_at", "updated_at"} <= set(made)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["created_at"])
    assert account.ok("GET", f"/workspace/{made['id']}")["workspace"] == made


def test_one_that_is_not_waited_for(account: Account) -> None:
    made = account.create(wait_ready=False)
    assert made["status"] in ("creating", "running")


def test_what_cannot_be_honoured_is_recorded_and_named(account: Account) -> None:
    asked = {
        "image": "oblien/node:24",
        "cpus": 2,
        "mode": "temporary",
        "namespace": "team-a",
        "config": {"memory_mb": 512, "env": ["A=b"], "ttl": None},
    }
    told = account.ok("POST", "/workspace", asked, status=201)
    made = told["workspace"]
    assert made["image"] == "oblien/node:24"
    assert made["resources"] == {"cpus": 2, "memory_mb": 512}
    assert (made["mode"], made["namespace"]) == ("temporary", "team-a")
    assert made["config"] == {"env": ["A=b"]}
    named = [one.partition(":")[0] for one in told["warnings"]]
    assert named == ["image", "cpus", "memory_mb", "mode", "config.env"]
    assert told["warnings"] == made["warnings"]
    assert account.create()["warnings"] == []


def test_a_resource_by_name_counts_before_config(account: Account) -> None:
    assert account.create(cpus=4, config={"cpus": 1})["resources"] == {"cpus": 4}


def test_a_slug_leads_to_the_workspace(account: Account, stranger: Account) -> None:
    made = account.create(slug="the-one")
    assert account.ok("GET", "/workspace/the-one")["workspace"]["id"] == made["id"]
    told = account.failure("POST", "/workspace", 409, body={"slug": "the-one"})
    assert told["code"] == "conflict"
    assert "the-one" in told["error"]
    # Another client may have the same.
    assert stranger.create(slug="the-one")["id"] != made["id"]


def test_names_alike_get_slugs_that_differ(account: Account) -> None:
    slugs = {account.create(name="Twice Told")["slug"] for _ in range(3)}
    assert len(slugs) == 3
    assert "twice-told" in slugs


@pytest.mark.parametrize("name", ["\u00fc", "a", "---", "x" * 255, "ws_0123456789abcdef"])
def test_a_slug_is_made_of_any_name(account: Account, name: str) -> None:
    made = account.create(name=name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", made["slug"])
    assert 3 <= len(made["slug"]) <= 128


BAD_BODIES: dict[str, tuple[Any, str]] = {
    "name empty": ({"name": ""}, "name"),
    "name long": ({"name": "x" * 256}, "name"),
    "name a number": ({"name": 7}, "name"),
    "slug short": ({"slug": "ab"}, "slug"),
    "slug long": ({"slug": "a" * 129}, "slug"),
    "slug in upper case": ({"slug": "Abc"}, "slug"),
    "slug with an underscore": ({"slug": "ws_abc"}, "slug"),
    "slug with a line": ({"slug": "abc\n"}, "slug"),
    "mode unknown": ({"mode": "eternal"}, "mode"),
    "cpus 0": ({"cpus": 0}, "cpus"),
    "cpus a text": ({"cpus": "2"}, "cpus"),
    "memory negative": ({"memory_mb": -1}, "memory_mb"),
    "config a list": ({"config": []}, "config"),
    "config.cpus a text": ({"config": {"cpus": "many"}}, "config.cpus"),
    "key empty": ({"idempotency_key": ""}, "idempotency_key"),
    "key long": ({"idempotency_key": "k" * 129}, "idempotency_key"),
    "wait_ready a number": ({"wait_ready": 1}, "wait_ready"),
    "no object": ([], "body"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_400_and_named(account: Account, name: str) -> None:
    body, field = BAD_BODIES[name]
    before = account.ok("GET", "/workspace")["total"]
    told = account.failure("POST", "/workspace", 400, body=body)
    assert told["code"] == "bad_request"
    assert told["error"].startswith(field)
    assert account.ok("GET", "/workspace")["total"] == before


def test_a_body_over_the_limit_is_413(account: Account) -> None:
    told = account.failure("POST", "/workspace", 413, body={"config": {"a": "x" * (1 << 20)}})
    assert told["code"] == "too_large"


def test_pages_hold_every_workspace_once(plane: Controlled) -> None:
    with plane.account() as account:
        made = [account.create(mode="temporary" if n % 2 else "permanent")["id"] for n in range(7)]
        account.ok("POST", f"/workspace/{made[0]}/stop")
        seen: list[Json] = []
        for number in (1, 2, 3, 4):
            told = account.json("/workspace", page=number, limit=3)
            assert (told["total"], told["page"], told["limit"]) == (7, number, 3)
            seen += told["workspaces"]
        assert [one["id"] for one in seen] == made[::-1]
        assert account.json("/workspace", mode="temporary")["total"] == 3
        assert account.json("/workspace", status="running")["total"] == 6
        stopped = account.json("/workspace", status="stopped")["workspaces"]
        assert [one["id"] for one in stopped] == made[:1]
        assert account.json("/workspace", status="failed")["workspaces"] == []
        assert account.json("/workspace", namespace="none")["total"] == 0


@pytest.mark.parametrize("query", ["page=0", "limit=0", "limit=101", "page=x", "status=odd"])
def test_a_bad_parameter_is_400_and_named(account: Account, query: str) -> None:
    told = account.failure("GET", "/workspace", 400, query=query)
    assert told["error"].startswith(query.partition("=")[0])


def test_an_update_changes_what_is_given(account: Account, workspace: Json) -> None:
    path = f"/workspace/{workspace['id']}"
    told = account.ok("PUT", path, {"name": "New", "logo": "https://x/y.png"})["workspace"]
    assert (told["name"], told["logo"], told["slug"]) == (
        "New",
        "https://x/y.png",
        workspace["slug"],
    )
    told = account.ok("PUT", path, {"config": {"a": 1, "b": 2}})["workspace"]
    told = account.ok("PUT", path, {"config": {"b": None, "c": 3}})["workspace"]
    assert told["config"] == {"a": 1, "c": 3}
    assert account.ok("PUT", path, {})["workspace"]["name"] == "New"


def test_null_clears_slug_and_logo_and_nothing_else(account: Account, workspace: Json) -> None:
    path = f"/workspace/{workspace['id']}"
    account.ok("PUT", path, {"logo": "x", "slug": "soon-gone"})
    body = {"slug": None, "logo": None, "name": None, "config": None}
    told = account.ok("PUT", path, body)["workspace"]
    assert (told["slug"], told["logo"], told["name"]) == (None, None, workspace["name"])
    account.failure("GET", "/workspace/soon-gone", 404)


def test_a_slug_that_is_taken_is_409(account: Account, workspace: Json) -> None:
    other = account.create()
    body = {"slug": other["slug"]}
    assert account.failure("PUT", f"/workspace/{workspace['id']}", 409, body=body)
    account.ok("PUT", f"/workspace/{other['id']}", body)


def test_stop_and_start(account: Account, workspace: Json) -> None:
    path = f"/workspace/{workspace['id']}"
    for _ in range(2):
        told = account.ok("POST", f"{path}/stop")["workspace"]
        assert (told["status"], told["ready"], told["info"]["is_running"]) == (
            "stopped",
            False,
            False,
        )
    for verb in ("start", "start", "restart"):
        assert account.ok("POST", f"{path}/{verb}")["workspace"]["status"] == "running"
    account.ok("POST", f"{path}/stop")
    assert account.ok("POST", f"{path}/restart")["workspace"]["status"] == "running"


def test_a_deleted_workspace_is_gone(plane: Controlled, account: Account) -> None:
    made = account.create(slug="to-go")
    account.ok("DELETE", f"/workspace/{made['id']}")
    for route in OWNED:
        method, path = of(route, made["id"])
        assert account.failure(method, path, 404)["code"] == "not_found"
    account.failure("GET", "/workspace/to-go", 404)
    assert not (plane.state_dir / "workspaces" / made["id"]).exists()
    assert account.create(slug="to-go")["id"] != made["id"]


@pytest.mark.parametrize("route", OWNED)
def test_a_strangers_workspace_is_404_and_untouched(
    account: Account, stranger: Account, foreign: Json, route: str
) -> None:
    unknown = stranger.failure(*of(route, "ws_0123456789abcdef"), 404)
    for name in (foreign["id"], foreign["slug"]):
        told = stranger.failure(*of(route, name), 404)
        assert told["code"] == "not_found"
        assert told["error"] == unknown["error"].replace("ws_0123456789abcdef", name)
    assert account.ok("GET", f"/workspace/{foreign['id']}")["workspace"] == foreign


@pytest.fixture(scope="module")
def foreign(account: Account) -> Json:
    return account.create()


def test_a_list_holds_nobody_elses(account: Account, stranger: Account) -> None:
    mine = {one["id"] for one in account.json("/workspace", limit=100)["workspaces"]}
    theirs = {one["id"] for one in stranger.json("/workspace", limit=100)["workspaces"]}
    assert not mine & theirs


# --- idempotency -----------------------------------------------------------------------------


def test_one_key_makes_one_workspace(account: Account, stranger: Account) -> None:
    body = {"idempotency_key": "once", "name": "Once"}
    made = account.create(**body)
    told = account.ok("POST", "/workspace", {**body, "wait_ready": False})
    assert told["workspace"] == made
    assert stranger.create(**body)["id"] != made["id"]
    told = account.failure("POST", "/workspace", 409, body={**body, "name": "Other"})
    assert "idempotency_key" in told["error"]
    account.ok("DELETE", f"/workspace/{made['id']}")
    # Gone is gone: a late repetition makes no second one.
    account.failure("POST", "/workspace", 409, body=body)


def test_one_key_at_once_makes_one_workspace(account: Account) -> None:
    found: list[tuple[str, int]] = []

    def ask() -> None:
        with Account(account.url, account.id, account.secret) as again:
            answer = again.request("POST", "/workspace", body={"idempotency_key": "race"})
            found.append((answer.json()["workspace"]["id"], answer.status_code))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({identifier for identifier, _ in found}) == 1
    assert sorted(status for _, status in found) == [200] * 11 + [201]


# --- what is common --------------------------------------------------------------------------


@pytest.mark.parametrize("route", [*sorted(ROUTES), "GET /nope", "POST /nope"])
def test_nothing_is_said_without_credentials(account: Account, route: str) -> None:
    method, path = of(route, "ws_1")
    if path == "/health":
        assert httpx2.get(account.url + path).json() == {"status": "ok"}
        return
    for headers in bad_credentials(account).values():
        answer = httpx2.request(method, account.url + path, headers=headers)
        assert answer.status_code == 401, (route, headers)
        assert answer.json()["code"] == "unauthorized"
        assert answer.json()["success"] is False


def bad_credentials(account: Account) -> dict[str, Any]:
    # No wrong secret for the right client: those are counted, and have tests of their own.
    return {
        "none": {},
        "id alone": {"X-Client-ID": account.id},
        "secret alone": {"X-Client-Secret": account.secret},
        "bearer": {"Authorization": f"Bearer {account.secret}"},
        "empty": {"X-Client-ID": "", "X-Client-Secret": ""},
        "twice": [
            ("X-Client-ID", account.id),
            ("X-Client-ID", account.id),
            ("X-Client-Secret", account.secret),
        ],
    }


def test_an_unknown_endpoint_is_404(account: Account) -> None:
    for path in ("/nope", "/workspace/ws_1/nope", "/workspace/", "/workspace//start"):
        assert account.get(path).status_code == 404


def test_a_wrong_method_is_405_with_allow(account: Account) -> None:
    answer = account.request("DELETE", "/workspace")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_head_works_where_get_does(account: Account) -> None:
    answer = account.request("HEAD", "/workspace")
    assert (answer.status_code, answer.content) == (200, b"")


def test_no_page_may_read_answers(account: Account) -> None:
    answer = account.request("GET", "/workspace", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_the_document_names_both_headers(account: Account) -> None:
    document = account.json("/openapi.json")
    schemes = document["components"]["securitySchemes"].values()
    assert {one["name"] for one in schemes} == {"X-Client-ID", "X-Client-Secret"}


def test_no_secret_is_in_the_log(plane: Controlled, account: Account) -> None:
    account.json("/workspace")
    text = plane.log.read_text()
    assert account.secret not in text
    assert "/workspace" in text


ODD_NAMES = ("%00", "%ff", "%C3%BC", "%ED%A0%80", "x" * 3000, "ws_%27--", "%2e%2e", "a%0ab")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_404(account: Account, name: str) -> None:
    answer = account.http.get(
        httpx2.URL(account.url).copy_with(raw_path=f"/workspace/{name}".encode())
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


ODD_VALUES: tuple[Any, ...] = (
    "\0",
    "\ud800",
    "\u2028",
    "'; --",
    "x" * 5000,
    -1,
    2**70,
    1e308,
    True,
    [],
    [[]],
    {},
    {"a": {"b": ["\0"]}},
)


@pytest.mark.parametrize("value", ODD_VALUES, ids=ascii)
def test_an_odd_value_is_no_error_of_the_server(
    account: Account, workspace: Json, value: Any
) -> None:
    at = f"/workspace/{workspace['id']}"
    for method, path, fields in (
        ("POST", "/workspace", CreateBody.__struct_fields__),
        ("PUT", at, UpdateBody.__struct_fields__),
        ("PATCH", f"{at}/network", PolicyBody.__struct_fields__),
    ):
        for field in fields:
            answer = account.request(method, path, body={field: value})
            assert answer.status_code < 500, (method, field, value, answer.text)

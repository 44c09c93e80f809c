"""What is common to all endpoints: tokens, errors, methods, parameters, the local spelling.

Source: wire contract, section 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx2
import pytest
from tests.client import Client, Wire
from tests.commands import until
from tests.needed import NEEDED
from tests.serving import Target

from hutch.routing.openapi import path_template
from hutch.routing.table import ANY, Route
from hutch.runtime.http.app import TABLE

pytestmark = pytest.mark.wire

ROUTES = {f"{one.method} {one.path}": one for one in TABLE.routes}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


def filled(path: str) -> str:
    return re.sub(r"\{[\w.]+\}", "1", path)


def bad_headers(token: str) -> dict[str, dict[str, str]]:
    return {
        "none": {},
        "empty": {"Authorization": ""},
        "no token": {"Authorization": "Bearer"},
        "blank token": {"Authorization": "Bearer  "},
        "wrong": {"Authorization": f"Bearer {'0' * len(token)}"},
        "truncated": {"Authorization": f"Bearer {token[:-1]}"},
        "longer": {"Authorization": f"Bearer {token}0"},
        "upper case": {"Authorization": f"Bearer {token.upper()}"},
        "other scheme": {"Authorization": f"Basic {token}"},
        "bare": {"Authorization": token},
    }


@pytest.mark.parametrize("path", sorted({filled(one.path) for one in TABLE.routes} | {"/nope"}))
def test_no_path_says_anything_without_the_token(target: Target, path: str) -> None:
    spellings = (path, f"/runtimes/local{path}", path.replace("/f", "/%66"))
    with Wire(target.url) as wire:
        for spelling in spellings:
            for method in METHODS:
                for name, headers in bad_headers(target.token).items():
                    answer = wire.send(method, spelling, headers)
                    is_open = path == "/health" and method in ("GET", "HEAD")
                    wanted = 200 if is_open else 401
                    assert answer.status == wanted, (method, spelling, name, answer)


ODD_PATHS = ("/files/../files", "//files", "/files/", "/FILES", "/files;a", "/files%2Fread", "/%00")


@pytest.mark.parametrize("path", ODD_PATHS)
def test_odd_spellings_need_the_token_too(target: Target, client: Client, path: str) -> None:
    raw = httpx2.URL(target.url).copy_with(raw_path=path.encode())
    assert httpx2.get(raw).status_code == 401
    assert client.http.get(raw).status_code in (200, 400, 404)


def test_a_token_in_the_query_counts_for_nothing(target: Target) -> None:
    assert httpx2.get(f"{target.url}/runtime?token={target.token}").status_code == 401


def test_two_authorization_headers_are_refused(target: Target) -> None:
    value = f"Bearer {target.token}"
    headers = [("Authorization", value), ("Authorization", "Bearer wrong")]
    assert httpx2.get(f"{target.url}/runtime", headers=headers).status_code == 401


def test_the_scheme_is_taken_in_any_case(target: Target) -> None:
    headers = {"Authorization": f"bearer {target.token}"}
    assert httpx2.get(f"{target.url}/runtime", headers=headers).status_code == 200


def test_health_says_ok_and_nothing_else(target: Target) -> None:
    answer = httpx2.get(f"{target.url}/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_an_unknown_path_is_404_with_the_token(client: Client) -> None:
    told = client.failure("GET", "/nope", 404)
    assert told["code"] == "not_found"
    assert "/nope" in told["error"]


@pytest.mark.parametrize("name", [one for one in ROUTES if ROUTES[one].method != ANY])
def test_other_methods_are_405_with_allow(client: Client, name: str) -> None:
    path = ROUTES[name].path
    allowed: set[str] = {one.method for one in TABLE.routes if one.path == path}
    allowed |= {"HEAD"} if "GET" in allowed else set()
    for method in set(METHODS) - allowed:
        answer = client.http.request(method, filled(path))
        assert answer.status_code == 405, (method, answer.text)
        assert set(answer.headers["allow"].split(", ")) == allowed


GETS = [one for one in TABLE.routes if one.method == "GET" and one.kind != "socket"]
OWN_HEADERS = {"date", "x-request-id"}


TIMES = re.compile(rb'"elapsed_ms":\d+')
# A task that has ended, for the routes that tell of one.
TASK = "asked"
# The id of a terminal that has ended.
TERMINAL: list[str] = []


@pytest.fixture(scope="module")
def task(client: Client) -> None:
    body = {"cmd": ["echo", "asked"], "id": TASK, "ttl_seconds": -1}
    assert client.request("POST", "/exec", body=body).status_code == 200


@pytest.fixture(scope="module")
def ended(client: Client) -> Iterator[None]:
    """A terminal that has ended, for the routes that tell of one."""
    body = {"cmd": ["echo", "asked"]}
    TERMINAL.append(client.request("POST", "/terminals", body=body).json()["id"])
    until(lambda: not client.json(f"/terminals/{TERMINAL[0]}/scrollback")["alive"])
    yield
    client.request("DELETE", f"/terminals/{TERMINAL.pop()}")


@pytest.fixture(scope="module")
def watcher(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A watcher, for the routes that tell of one."""
    body = {"path": str(tmp_path_factory.mktemp("watched"))}
    made = client.request("POST", "/watchers", body=body)
    assert made.status_code == 200
    yield
    client.request("DELETE", f"/watchers/{made.json()['id']}")


def identifier(client: Client, route: Route) -> str:
    """The id of what a route tells of."""
    if route.path.startswith("/watchers/"):
        return str(client.json("/watchers")["watchers"][-1]["id"])
    return TERMINAL[0] if route.path.startswith("/terminals/") else TASK


def asked(client: Client, route: Route, place: Path) -> str:
    """A request to a GET route that must succeed, by a tree with `file` in it, and `task`: for
    the file, or for the tree where the route lists."""
    answers = {}
    path = route.path.replace("{id}", identifier(client, route))
    for one in (place / "file", place):
        query = urlencode({**NEEDED, "path": str(one), "task_id": TASK}, safe="/")
        target = f"{path}?{query}"
        answers[target] = client.http.get(target).status_code
    good = [one for one in answers if answers[one] == route.status]
    assert good, answers
    return good[0]


# What they tell is another thing each time they are asked, and as long as it happens to be.
OF_NOW = ("/metrics", "/limits")


def told(answer: httpx2.Response) -> tuple[int, dict[str, str]]:
    """Status and headers, without those that no two answers share."""
    kept = {k: v for k, v in answer.headers.items() if k not in OWN_HEADERS}
    if answer.url.path.endswith(OF_NOW):
        del kept["content-length"]
    # The one thing in an error body that no two share has always the same length.
    return answer.status_code, kept


@pytest.mark.usefixtures("task", "ended", "watcher")
@pytest.mark.parametrize("route", GETS, ids=lambda one: str(one.path))
def test_head_works_where_get_does(client: Client, tree: Path, route: Route) -> None:
    (tree / "file").write_text("abc\n")
    good = asked(client, route, tree)
    bad = good.replace(quote(str(tree)), "/nothing/is/here").replace(TASK, "nobody")
    bad = re.sub(r"(?<=^/terminals/)\d+", "nobody", bad)
    for path in (good, bad, f"/runtimes/local{good}"):
        get, head = client.http.get(path), client.http.head(path)
        assert told(head) == told(get)
        assert head.content == b""
        assert get.content


@pytest.mark.usefixtures("task", "ended", "watcher")
@pytest.mark.parametrize("route", GETS, ids=lambda one: str(one.path))
def test_the_local_spelling_is_the_same(client: Client, tree: Path, route: Route) -> None:
    (tree / "file").write_text("abc\n")
    path = asked(client, route, tree)
    plain, local = client.http.get(path), client.http.get(f"/runtimes/local{path}")
    assert plain.status_code == 200
    assert told(local) == told(plain)
    if not path.startswith(OF_NOW):
        assert TIMES.sub(b"", local.content) == TIMES.sub(b"", plain.content)


def test_changes_under_the_local_spelling_are_made(client: Client, tree: Path) -> None:
    place = tree / "dir" / "file"
    local = "/runtimes/local/files"
    client.request("POST", f"{local}/mkdir", body={"path": str(place.parent)})
    client.request("POST", f"{local}/write", body={"path": str(place), "content": "a"})
    assert place.read_text() == "a"
    client.request("PUT", f"{local}/raw", query={"path": place}, content=b"b")
    assert place.read_text() == "b"
    told = client.request("DELETE", f"{local}/delete", query={"path": place.parent})
    assert told.json()["removed"] == 2
    assert list(tree.iterdir()) == []


def test_another_runtime_is_404(client: Client) -> None:
    for path in ("/runtimes/other/health", "/runtimes/local", "/runtimes/local/", "/runtimes/"):
        assert client.failure("GET", path, 404)["code"] == "not_found"


def test_every_answer_has_its_own_request_id(client: Client) -> None:
    found = [client.get("/runtime").headers["x-request-id"] for _ in range(3)]
    assert len(set(found)) == 3
    assert all(found)


def test_runtime_tells_the_documented_facts(client: Client) -> None:
    told = client.json("/runtime")
    assert told["success"] is True
    assert (told["os"], told["cpus"] > 0) == ("linux", True)
    assert {"arch", "home", "shell", "protocol_version", "capabilities"} <= set(told)
    targets = client.json("/runtimes")
    assert (targets["version"], targets["default_target"]) == (1, "local")
    (local,) = targets["targets"]
    assert (local["id"], local["local"], local["available"]) == ("local", True, True)
    assert local["runtime"]["arch"] == told["arch"]


def test_desktop_is_not_there(client: Client) -> None:
    assert client.json("/desktop/status") == {
        "success": True,
        "supported": False,
        "enabled": False,
        "available": False,
        "credentials": False,
        "transports": [],
    }


def test_answers_are_not_stored(client: Client) -> None:
    assert client.get("/runtime").headers["cache-control"] == "no-store"
    assert client.get("/nope").headers["cache-control"] == "no-store"


@pytest.mark.usefixtures("task", "ended", "watcher")
@pytest.mark.parametrize("route", GETS, ids=lambda one: str(one.path))
def test_only_contents_may_be_kept(client: Client, tree: Path, route: Route) -> None:
    (tree / "file").write_text("abc\n")
    kept = route.path in ("/files/read", "/files/raw")
    answer = client.http.get(asked(client, route, tree))
    assert answer.headers["cache-control"] == ("private, no-cache" if kept else "no-store")


def test_a_preflight_is_answered_without_a_token_and_grants_nothing(target: Target) -> None:
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}
    answer = httpx2.options(f"{target.url}/files", headers=headers)
    assert answer.status_code == 204
    assert "access-control-allow-origin" not in answer.headers


JSON_BODIES = [one for one in TABLE.routes if one.source != "query"]
BAD_BODIES = {
    "malformed": b"{",
    "list": b"[]",
    "NaN": b'{"path": NaN}',
    "number": b"1",
    "not UTF-8": b'{"path":"\xff"}',
}


@pytest.mark.parametrize("route", JSON_BODIES, ids=lambda one: f"{one.method} {one.path}")
@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_body_is_400(client: Client, route: Route, case: str) -> None:
    told = client.failure(route.method, route.path, 400, content=BAD_BODIES[case])
    assert told["code"] == "bad_request"
    assert "body" in told["error"]


def test_an_error_says_the_same_four_things(client: Client, tree: Path) -> None:
    """And a few endpoints say more; the header is the id that the log has."""
    cases = {
        "bad_request": client.get("/files/read"),
        "not_found": client.get("/files/read", path=tree / "nothing"),
        "method_not_allowed": client.request("PATCH", "/files"),
        "unauthorized": httpx2.get(f"{client.url}/files"),
        "forbidden": client.request("DELETE", "/files/delete", query={"path": "/proc"}),
    }
    for code, answer in cases.items():
        body = answer.json()
        assert set(body) == {"success", "error", "code", "request_id"}
        assert (body["success"], body["code"]) == (False, code)
        assert body["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["content-type"] == "application/json"


def test_openapi_names_every_route(client: Client) -> None:
    document = json.loads(client.get("/openapi.json").content)
    assert document["openapi"].startswith("3.1")
    for route in TABLE.routes:
        found = document["paths"][path_template(route)]
        assert (
            {"get", "trace"} <= set(found) if route.method == ANY else route.method.lower() in found
        )

"""`GET /metrics` and `GET /limits`.

Oracles: prometheus-client's own parser of the text, `/proc` for the process, what the test itself
has asked for. The server is one of its own: others would be counted too.
Source: design, section 4, "Bounds".
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests import trees
from tests.client import Client
from tests.serving import Target, serving
from tests.watching import wait_until

from hutch.runtime.http.app import TABLE
from hutch.server.figures import RequestFigures
from hutch.wire.config import Limits, limit_fields

Sample = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Target]:
    with serving(tmp_path / "own") as target:
        yield target


@pytest.fixture
def asker(own: Target) -> Iterator[Client]:
    with own.client() as client:
        yield client


def figures(client: Client) -> dict[Sample, float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answer.text)
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
    }


def of(found: dict[Sample, float], name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0)


def requests(found: dict[Sample, float], route: str, status: int, method: str = "GET") -> float:
    return of(found, "hutch_requests_total", method=method, route=route, status=str(status))


def test_requests_are_counted_by_route_and_status(asker: Client, tmp_path: Path) -> None:
    tree = trees.build(tmp_path / "tree", {"a": "x", "b": "x"})
    for _ in range(3):
        asker.json("/files", path=tree)
    asker.failure("GET", "/files", 404, query={"path": tree / "nothing"})
    asker.lines("/files/stream", path=tree)
    asker.request("POST", "/exec", body={"cmd": "true", "id": "named"})
    asker.get("/exec/named")
    found = figures(asker)
    assert requests(found, "/files", 200) == 3
    assert requests(found, "/files", 404) == 1
    assert requests(found, "/files/stream", 200) == 1
    assert requests(found, "/exec/{id}", 200) == 1
    assert of(found, "hutch_request_seconds_count", route="/files") == 4
    assert of(found, "hutch_request_seconds_bucket", route="/files", le="+Inf") == 4
    assert of(found, "hutch_walk_entries_total") >= 8
    assert of(found, "hutch_walk_bytes_total") > 100
    assert of(found, "hutch_sent_bytes_total") > 100
    assert requests(figures(asker), "/metrics", 200) == 1


def test_labels_are_bounded_whatever_is_asked(own: Target, asker: Client) -> None:
    before = len(figures(asker))
    for index in range(50):
        asker.http.request("GET", f"/nothing/{index}?secret={index}")
        asker.http.request(f"X{index}", f"/nothing/{index}")
        asker.http.request(f"Y{index}", "/files")
        asker.http.get(f"/runtimes/local/nothing/{index}", headers={"Authorization": "Bearer no"})
    with socket.create_connection(("127.0.0.1", own.port)) as one:
        one.sendall(b"no request at all\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 400")
    # Counted once the rest of it was dropped.
    wait_until(lambda: requests(figures(asker), "none", 400, "none") == 1)
    found = figures(asker)
    routes = {dict(labels).get("route") for _, labels in found} - {None}
    assert routes <= {route.path for route in TABLE.routes} | {"none"}
    assert requests(found, "none", 404) == 50
    assert requests(found, "none", 404, "other") == 50
    assert requests(found, "none", 401) == 50
    # A handful of series, however many paths and methods.
    assert len(found) < before + 60
    assert "secret" not in asker.get("/metrics").text


def test_statuses_are_bounded_whatever_an_application_answers() -> None:
    figures = RequestFigures()
    scope = {"method": "GET", "state": {"route": "/proxy"}}
    for status in range(100, 1000):
        figures.count(scope, status=status, sent=0, seconds=0)
    families = text_string_to_metric_families(figures.text().decode())
    totals = [
        one for family in families for one in family.samples if one.name == "hutch_requests_total"
    ]
    assert len(totals) < 80
    assert sum(one.value for one in totals) == 900
    labels = {one.labels["status"] for one in totals}
    assert {"200", "404", "502", "2xx", "9xx"} <= labels


def test_the_process_and_the_loop_are_told(own: Target, asker: Client) -> None:
    wait_until(lambda: of(figures(asker), "hutch_event_loop_lag_seconds_count") >= 1)
    found = figures(asker)
    pages = int(Path(f"/proc/{own.pid}/statm").read_text().split()[1])
    resident = of(found, "process_resident_memory_bytes")
    assert abs(resident - pages * os.sysconf("SC_PAGE_SIZE")) < 16 * 2**20
    assert of(found, "process_open_fds") > 3
    assert of(found, "hutch_connections") == 1


def test_what_is_open_is_told(own: Target, asker: Client, tmp_path: Path) -> None:
    assert of(figures(asker), "hutch_open_streams") == 1  # the answer itself
    body = {"cmd": ["sleep", "60"], "id": "long", "background": True}
    assert asker.request("POST", "/exec", body=body).status_code == 202
    head = f"GET /exec/long?stream=true HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {own.token}"
    with socket.create_connection(("127.0.0.1", own.port)) as one:
        one.sendall(f"{head}\r\nAccept: text/event-stream\r\n\r\n".encode())
        assert one.recv(100)
    asker.request("POST", "/watchers", body={"path": str(tmp_path)})
    asker.request("POST", "/terminals", body={"cmd": ["sleep", "60"]})
    found = figures(asker)
    assert of(found, "hutch_tasks") == 1
    assert of(found, "hutch_watchers") == 1
    assert of(found, "hutch_terminals") == 1
    limits = asker.json("/limits")["limits"]
    for name, used in {"exec_tasks": 1, "watchers": 1, "terminals": 1, "searches": 0}.items():
        assert limits[name]["used"] == used, name
        assert of(found, "hutch_limit_used", limit=name) == used
        assert of(found, "hutch_limit", limit=name) == limits[name]["limit"]
    assert limits["watch_directories"]["used"] >= 1
    asker.request("DELETE", "/exec/long")
    wait_until(lambda: of(figures(asker), "hutch_tasks") == 0)


# Each bounds one thing, of which there may be many: no single figure says how much is in use.
EACH = {
    "header_bytes", "drain_bytes", "message_bytes", "body_bytes", "content_bytes",
    "listing_entries", "search_answer_bytes", "search_memory_bytes", "download_bytes",
    "exec_memory_bytes", "exec_answer_bytes", "exec_input_bytes", "terminal_scrollback_bytes",
    "terminal_lag_bytes", "terminal_input_bytes", "socket_outbox_bytes", "watch_events",
    "watch_log_bytes", "archive_entries", "archive_bytes", "archive_ratio", "archive_name_bytes",
}  # fmt: skip


def test_every_bound_is_told_with_its_use(own: Target, asker: Client) -> None:
    # A connection is a stranger's until the server notices, at its next step, that one was let in.
    asker.json("/runtime")
    told = asker.json("/limits")["limits"]
    for one in limit_fields(Limits):
        bound = told.pop(one.name)
        assert bound["limit"] == one.default
        assert (bound["option"], bound["variable"]) == (one.option, one.variable)
        assert bound["text"] == one.text
        is_time = one.kind is float
        assert (bound["unit"] == "seconds") == is_time
        # A new bound over many things must say how much is in use: a service's `uses`.
        assert (bound["used"] is None) == (is_time or one.name in EACH), one.name
    # What is built in.
    names = {"connections", "strangers", "digests", "rules_bytes", "index_bytes", "buffer_bytes"}
    assert set(told) == names
    for bound in told.values():
        assert 0 <= bound["used"] <= bound["limit"]
    assert told["connections"]["used"] == 1
    assert told["strangers"]["used"] == 0


def test_a_limit_that_was_set_is_the_one_told(tmp_path: Path) -> None:
    with serving(tmp_path / "own", "--exec-tasks=3") as target, target.client() as client:
        assert client.json("/limits")["limits"]["exec_tasks"]["limit"] == 3


def test_caches_say_how_full_they_are(asker: Client) -> None:
    # This repository: what has just changed is not remembered.
    tree = Path(__file__).parents[2]
    before = asker.json("/limits")["limits"]
    assert (before["digests"]["used"], before["rules_bytes"]["used"]) == (0, 0)
    asker.json("/files", path=tree, include_hash=True, use_gitignore=True)
    after = asker.json("/limits")["limits"]
    files = sum(one.is_file() and not one.is_symlink() for one in tree.iterdir())
    assert 0 < after["digests"]["used"] <= files
    assert after["rules_bytes"]["used"] > 0

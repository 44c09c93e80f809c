"""What watchers tell over `/ws`: `ready`, `change`, `overflow`, to each connection.

Oracle: `changes` of the same watcher, which reads the same log.
Source: wire contract, sections 6 and 7; reference, "File Watcher", "WebSocket events".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import trees
from tests.client import Client, Json, b64
from tests.serving import Target, serving
from tests.terminals import Ws, connected
from tests.watchers import Events, watch
from tests.watching import wait_until

SMALL_OUTBOX = 20_000
SMALL_LOG = 1000


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    place = tmp_path_factory.mktemp("frames")
    options = (f"--socket-outbox-bytes={SMALL_OUTBOX}", f"--watch-events={SMALL_LOG}")
    with serving(place, *options) as one:
        yield one
        assert "Traceback" not in one.log.read_text()


@pytest.fixture(scope="module")
def client(target: Target) -> Iterator[Client]:
    with target.client() as one:
        yield one


@pytest.fixture
def ws(target: Target) -> Iterator[Ws]:
    with connected(target) as one:
        one.until_told(type="hello")
        yield one


@pytest.fixture(autouse=True)
def alone(client: Client) -> Iterator[None]:
    """No test leaves a watcher to the next."""
    yield
    for one in client.json("/watchers")["watchers"]:
        client.request("DELETE", f"/watchers/{one['id']}")


def of(ws: Ws, events: Events) -> list[Json]:
    """The frames of one watcher so far."""
    return [one for one in ws.texts if one.get("watcher_id") == events.id]


def test_ready_comes_to_whoever_is_there_and_to_whoever_comes(
    client: Client, target: Target, ws: Ws, tree: Path
) -> None:
    (tree / "a/b").mkdir(parents=True)
    events = watch(client, path=str(tree))
    wanted = {
        "channel": "watcher",
        "type": "ready",
        "watcher_id": events.id,
        "root": str(tree),
        "dirs": 3,
        "seq": events.start,
        "incomplete": False,
    }
    assert ws.until_told(type="ready", watcher_id=events.id) == wanted
    with connected(target) as late:
        assert late.until_told(type="ready", watcher_id=events.id) == wanted
        assert [one["type"] for one in late.texts] == ["hello", "ready"]


def test_every_connection_hears_every_change_in_order(
    client: Client, target: Target, ws: Ws, tree: Path
) -> None:
    events = watch(client, path=str(tree))
    with connected(target) as other:
        other.until_told(type="ready", watcher_id=events.id)
        for name in ("a", "b", "c"):
            os.mknod(tree / name)
        (tree / "a").rename(tree / "d")
        told = events.until("d")
        wanted = [
            {"channel": "watcher", "type": "change", "watcher_id": events.id, **one} for one in told
        ]
        for one in (ws, other):
            one.until_told(type="change", path=f"{tree}/d")
            assert of(one, events)[1:] == wanted
    assert set(wanted[0]) == {"channel", "type", "watcher_id", "path", "op", "seq"}


def test_names_that_are_not_utf_8_come_with_their_bytes(client: Client, ws: Ws, tree: Path) -> None:
    watch(client, path=str(tree))
    with open(bytes(tree) + b"/\xff", "wb"):
        pass
    told = ws.until_told(type="change")
    assert (told["path"], told["path_b64"]) == (f"{tree}/\ufffd", b64(bytes(tree) + b"/\xff"))


def test_nothing_comes_of_a_watcher_that_was_deleted(client: Client, ws: Ws, tree: Path) -> None:
    gone, left = watch(client, path=str(tree)), watch(client, path=str(tree))
    client.request("DELETE", f"/watchers/{gone.id}")
    os.mknod(tree / "a")
    ws.until_told(type="change", watcher_id=left.id)
    assert [one["type"] for one in of(ws, gone)] == ["ready"]


def test_a_root_that_goes_is_told(client: Client, target: Target, ws: Ws, tree: Path) -> None:
    events = watch(client, path=str(tree))
    tree.rmdir()
    told = ws.until_told(type="change", watcher_id=events.id)
    assert (told["path"], told["op"]) == (str(tree), "remove")
    with connected(target) as late:
        late.until_told(type="hello")
        late.send(channel="nonsense")
        late.until_told(type="error")
        assert not of(late, events)


def test_rules_that_change_are_told_as_overflow(client: Client, ws: Ws, tree: Path) -> None:
    (tree / ".gitignore").write_text("a\n")
    events = watch(client, path=str(tree), use_gitignore=True)
    (tree / ".gitignore").write_text("b\n")
    told = ws.until_told(type="overflow", watcher_id=events.id)
    assert str(tree / ".gitignore") in told["message"]
    assert told["seq"] > events.start


def test_a_client_that_does_not_read_is_told_that_it_missed_some(
    client: Client, target: Target, tree: Path
) -> None:
    """And the others miss nothing."""
    events = watch(client, path=str(tree))
    with connected(target, buffer=4096) as slow, connected(target) as quick:
        quick.until_told(type="ready")
        names = [f"{number:0240}" for number in range(7_000)]
        for number, name in enumerate(names, 1):
            os.mknod(tree / name)
            if number % (SMALL_LOG // 2) == 0:
                quick.until_told(type="change", path=f"{tree}/{name}")
        assert [one["type"] for one in of(quick, events)] == ["ready"] + ["change"] * len(names)
        # It need not wait for another event to hear of it.
        slow.until_told(type="overflow", watcher_id=events.id)
        os.mknod(tree / "end")
        slow.until_told(type="change", path=f"{tree}/end")
    kinds = [one["type"] for one in of(slow, events)]
    assert kinds[0] == "ready"
    assert "overflow" in kinds
    # Whatever is missing, an overflow comes before what is told next.
    expected = events.start
    for one in of(slow, events)[1:]:
        assert one["type"] == "overflow" or one["seq"] == expected + 1
        expected = one["seq"]
    assert expected == events.start + len(names) + 1


def test_a_client_that_was_away_goes_on_where_it_was(
    client: Client, target: Target, tree: Path
) -> None:
    trees.build(tree, {"a": ""})
    events = watch(client, path=str(tree))
    with connected(target) as one:
        one.until_told(type="ready")
        os.mknod(tree / "b")
        last = one.until_told(type="change")["seq"]
    os.mknod(tree / "c")
    wait_until(lambda: events.facts["seq"] == last + 1)
    told = client.json(f"/watchers/{events.id}/changes", since=last)
    assert [one["path"] for one in told["changes"]] == [f"{tree}/c"]

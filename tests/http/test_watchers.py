"""Watching directories over HTTP: what is asked, what is told, what goes wrong.

The frames over a socket are in `test_watch_frames.py`, random changes in `test_watch_model.py`.
Oracles: `os.walk` for directories; the operations that a test makes for its events.
Source: wire contract, section 6; reference, "File Watcher".
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests import trees
from tests.client import Client, Json, b64
from tests.serving import Target, serving
from tests.watchers import Events, watch
from tests.watching import wait_until

DEFAULTS = [
    "node_modules", ".git", ".svn", ".hg", "__pycache__", ".pytest_cache", ".mypy_cache", ".next",
    ".nuxt", "dist", "build", ".DS_Store", "*.swp", "*.swo", "*~",
]  # fmt: skip


@pytest.fixture(autouse=True)
def alone(client: Client) -> Iterator[None]:
    """No test leaves a watcher to the next."""
    yield
    for one in client.json("/watchers")["watchers"]:
        client.request("DELETE", f"/watchers/{one['id']}")


# --- what is asked -----------------------------------------------------------------------------


def test_a_watcher_is_told_flat_and_within(client: Client, tree: Path) -> None:
    trees.build(tree, {"a/b/": None, "c": "", "node_modules/x/": None})
    body = {"path": str(tree), "excludes": ["*.log", "tmp"]}
    made = client.request("POST", "/watchers", body=body)
    assert made.status_code == 200
    told = made.json()
    within = told.pop("watcher")
    assert told.pop("success") is True
    assert within == told
    assert (told["root"], told["active"], told["incomplete"]) == (str(tree), True, False)
    assert told["dirs"] == told["dir_count"] == 3
    assert told["excludes"] == [*DEFAULTS, "*.log", "tmp"]
    assert client.json(f"/watchers/{told['id']}")["watcher"] == told
    assert client.json("/watchers") == {"success": True, "watchers": [told]}
    gone = client.request("DELETE", f"/watchers/{told['id']}")
    assert gone.json() == {"success": True}
    for method in ("GET", "DELETE"):
        assert client.failure(method, f"/watchers/{told['id']}", 404)["code"] == "not_found"


@pytest.mark.parametrize("names", [("path", "excludes"), ("root", "exclude")])
def test_the_other_names_are_taken(client: Client, tree: Path, names: tuple[str, str]) -> None:
    told = watch(client, **{names[0]: str(tree), names[1]: ["one"]}).facts
    assert (told["root"], told["excludes"][-1]) == (str(tree), "one")


def test_ids_are_not_given_again(client: Client, tree: Path) -> None:
    first = watch(client, path=str(tree))
    client.request("DELETE", f"/watchers/{first.id}")
    assert int(watch(client, path=str(tree)).id) > int(first.id)


def test_the_sixth_watcher_is_409(client: Client, tree: Path) -> None:
    made = [watch(client, path=str(tree)) for _ in range(5)]
    told = client.failure("POST", "/watchers", 409, body={"path": str(tree)})
    assert (told["code"], made[0].id in told["error"]) == ("conflict", True)
    client.request("DELETE", f"/watchers/{made[2].id}")
    watch(client, path=str(tree))
    # One whose root has gone takes nobody's place.
    place = tree / "below"
    place.mkdir()
    client.request("DELETE", f"/watchers/{made[3].id}")
    below = watch(client, path=str(place))
    place.rmdir()
    wait_until(lambda: not below.facts["active"])
    watch(client, path=str(tree))
    client.failure("GET", f"/watchers/{below.id}", 404)


BAD: dict[str, tuple[Json, int, str]] = {
    "no path": ({}, 400, "path: missing"),
    "relative": ({"path": "a"}, 400, "path: relative"),
    "root relative": ({"root": "a"}, 400, "root: relative"),
    "missing": ({"path": "/nothing/here"}, 404, "/nothing/here"),
    "a file": ({"path": "/etc/passwd"}, 400, "not a directory: /etc/passwd"),
    "malformed": ({"path": "/usr", "excludes": ["["]}, 400, "excludes: "),
    "NUL": ({"path": "/usr\0"}, 400, "path: "),
    "no list": ({"path": "/usr", "excludes": "a"}, 400, "excludes"),
    "too many": ({"path": "/usr", "excludes": ["a"] * 1001}, 400, "excludes"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_watched_is_told(client: Client, name: str) -> None:
    body, status, words = BAD[name]
    assert words in client.failure("POST", "/watchers", status, body=body)["error"]
    assert client.json("/watchers")["watchers"] == []


def test_excludes_match_names_and_paths_and_never_the_root(client: Client, tree: Path) -> None:
    root = tree / "build" / "dist"
    trees.build(
        root, {"a/x/": None, "b/x/y/": None, "build/z/": None, "c/tmp/": None, "d.log/": None}
    )
    told = watch(client, path=str(root), excludes=["b/x", "tmp", "*.log"]).facts
    assert told["dirs"] == len([root, root / "a", root / "a/x", root / "b", root / "c"])
    # A slash at the end is for directories, one before it for the root's own children.
    told = watch(client, path=f"{root}/", excludes=["y/", "/x"]).facts
    assert (told["root"], told["dirs"]) == (str(root), 8)
    # What is excluded by default can be taken back.
    told = watch(client, path=str(root), excludes=["!build"]).facts
    assert told["dirs"] == 1 + sum(len(found[1]) for found in os.walk(root))


# --- what is told ------------------------------------------------------------------------------


def test_operations_are_told_as_documented(client: Client, tree: Path) -> None:
    trees.build(tree, {"old": "a", "gone": "", "moved": "", "out": ""})
    events = watch(client, path=str(tree))
    os.mknod(tree / "new")
    (tree / "dir").mkdir()
    (tree / "old").write_text("b")
    (tree / "gone").unlink()
    (tree / "moved").rename(tree / "here")
    (tree / "out").rename(tree.parent / "out")
    assert events.ops(6 + 1) == {
        "new": "create", "dir": "create", "old": "write", "gone": "remove", "moved": "rename",
        "here": "create", "out": "rename",
    }  # fmt: skip


def test_numbers_go_up_by_one(client: Client, tree: Path) -> None:
    events = watch(client, path=str(tree))
    for name in "abcdef":
        os.mknod(tree / name)
    assert [one["seq"] for one in events.take(6)] == list(range(events.start + 1, events.start + 7))
    assert client.json(f"/watchers/{events.id}")["seq"] == events.start + 6


def test_changes_of_a_path_are_one_event_with_the_last_operation(
    client: Client, tree: Path
) -> None:
    events = watch(client, path=str(tree))
    for _ in range(200):
        (tree / "a").write_text("x")
    (tree / "a").unlink()
    os.mknod(tree / "end")
    found = events.until("end")
    mine = [one["op"] for one in found if one["path"].endswith("/a")]
    assert mine[-1] == "remove"
    assert len(mine) < 20


def test_a_long_write_is_told_again_and_again(client: Client, tree: Path) -> None:
    """The window begins with the first change and is not renewed."""
    events = watch(client, path=str(tree))
    with (tree / "a").open("wb", buffering=0) as sink:
        while len(events.seen) < 3:
            sink.write(b"x")
            events.take(0)
    assert {one["op"] for one in events.seen} == {"write"}


def test_a_write_through_a_memory_map_is_told_when_the_file_is_closed(
    client: Client, tree: Path
) -> None:
    (tree / "a").write_bytes(b"x" * 4096)
    events = watch(client, path=str(tree))
    with (tree / "a").open("r+b") as file, mmap.mmap(file.fileno(), 4096) as room:
        room[0] = 1
    assert events.ops(1) == {"a": "write"}


def test_a_moved_directory_is_told_with_all_below_it(client: Client, tree: Path) -> None:
    trees.build(tree, {"a/b/c": "", "a/d": "", "a/node_modules/x": ""})
    outside = tree.parent / "outside"
    events = watch(client, path=str(tree))
    (tree / "a").rename(tree / "z")
    assert events.ops(5) == {
        "a": "rename", "z": "create", "z/b": "create", "z/b/c": "create", "z/d": "create",
    }  # fmt: skip
    (tree / "z").rename(outside)
    assert events.ops(1) == {"z": "rename"}
    os.mknod(outside / "b/new")
    (outside / "b/c").unlink()
    outside.rename(tree / "back")
    assert events.ops(4) == {
        "back": "create", "back/b": "create", "back/b/new": "create", "back/d": "create",
    }  # fmt: skip
    wait_until(lambda: events.facts["dirs"] == 3)


def test_files_already_in_a_new_directory_are_told(client: Client, tree: Path) -> None:
    events = watch(client, path=str(tree))
    wanted: dict[str, str] = {}
    for number in range(30):
        place = tree / f"d{number}" / "e" / "f"
        place.mkdir(parents=True)
        os.mknod(place / "file")
        rel = place.relative_to(tree)
        wanted |= dict.fromkeys(
            map(str, (rel.parent.parent, rel.parent, rel, rel / "file")), "create"
        )
    assert events.ops(len(wanted)) == wanted


def test_a_directory_that_takes_a_moved_ones_name_is_told_after_it(
    client: Client, tree: Path
) -> None:
    """Within the window too: who hears `rename` drops what was below."""
    trees.build(tree, {"a/old": ""})
    events = watch(client, path=str(tree))
    (tree / "a").rename(tree.parent / "away")
    (tree / "a").mkdir()
    os.mknod(tree / "a/new")
    told = [(one["path"].removeprefix(f"{tree}/"), one["op"]) for one in events.take(3)]
    assert told == [("a", "rename"), ("a", "create"), ("a/new", "create")]


def test_exchanged_directories_are_followed(client: Client, tree: Path) -> None:
    trees.build(tree, {"a/x": "", "b/y": ""})
    events = watch(client, path=str(tree))
    trees.exchange(tree / "a", tree / "b")
    os.mknod(tree / "end")
    model = events.replayed({"a", "a/x", "b", "b/y"}, until="end")
    assert model == {"a", "a/y", "b", "b/x", "end"}


def test_a_directory_that_comes_and_goes_at_once_leaves_nothing(client: Client, tree: Path) -> None:
    events = watch(client, path=str(tree))
    for _ in range(300):
        (tree / "d/e").mkdir(parents=True)
        (tree / "d/e").rmdir()
        (tree / "d").rmdir()
    os.mknod(tree / "end")
    assert events.replayed(set(), until="end") == {"end"}
    wait_until(lambda: events.facts["dirs"] == 1)
    assert events.facts["incomplete"] is False


def test_names_that_are_not_utf_8_are_told(client: Client, tree: Path) -> None:
    root = os.fsencode(tree) + b"/r\xff"
    os.mkdir(root)
    events = watch(client, path_b64=b64(root))
    assert events.facts["root_b64"] == b64(root)
    os.mkdir(root + b"/\xfe")
    with open(root + b"/\xfe/\xfd", "wb"):
        pass
    told = events.take(2)
    assert [one["path_b64"] for one in told] == [b64(root + b"/\xfe"), b64(root + b"/\xfe/\xfd")]
    assert told[0]["path"] == f"{tree}/r\ufffd/\ufffd"


def test_what_is_excluded_is_not_told(client: Client, tree: Path) -> None:
    trees.build(tree, {"node_modules/a/": None, "src/": None})
    events = watch(client, path=str(tree), excludes=["*.log", "src/gen"])
    for name in ("node_modules/a/b", "src/x.log", "a~", "src/.a.swp"):
        os.mknod(tree / name)
    (tree / "src/gen/deep").mkdir(parents=True)
    (tree / "dist").mkdir()
    (tree / "src/x.log").rename(tree / "src/seen")
    assert events.ops(1) == {"src/seen": "create"}
    assert events.facts["dirs"] == 2


def test_two_watchers_on_overlapping_trees_both_tell(client: Client, tree: Path) -> None:
    (tree / "a/b").mkdir(parents=True)
    outer, inner = watch(client, path=str(tree)), watch(client, path=str(tree / "a"))
    os.mknod(tree / "a/b/c")
    for one in (outer, inner):
        assert [it["path"] for it in one.take(1)] == [f"{tree}/a/b/c"]
    client.request("DELETE", f"/watchers/{outer.id}")
    os.mknod(tree / "a/b/d")
    assert [it["path"] for it in inner.take(1)] == [f"{tree}/a/b/d"]


# --- changes -----------------------------------------------------------------------------------


def test_a_number_that_is_not_known_begins_anew(client: Client, tree: Path) -> None:
    events = watch(client, path=str(tree))
    path = f"/watchers/{events.id}/changes"
    for since in (0, events.start - 1, events.start + 1, 2**53):
        told = client.json(path, since=since, wait=10)
        assert (told["fresh"], told["seq"], told["changes"]) == (True, events.start, [])
    told = client.json(path, since=events.start)
    assert (told["fresh"], told["more"], told["changes"]) == (False, False, [])
    for bad in ("-1", "a", "1.5", str(2**53 + 1)):
        assert "since" in client.failure("GET", path, 400, query={"since": bad})["error"]
    assert "wait" in client.failure("GET", path, 400, query={"since": 0, "wait": 3601})["error"]
    client.failure("GET", "/watchers/nobody/changes", 404, query={"since": 0})


def test_many_changes_come_in_several_answers(client: Client, tree: Path) -> None:
    events = watch(client, path=str(tree))
    names = {f"{number:0200}" for number in range(5000)}
    for name in names:
        os.mknod(tree / name)
    wait_until(lambda: events.facts["seq"] == events.start + len(names))
    told = client.json(f"/watchers/{events.id}/changes", since=events.start)
    assert told["more"] is True
    assert set(events.ops(len(names))) == names


def test_waiting_ends_with_the_watcher(client: Client, target: Target, tree: Path) -> None:
    events = watch(client, path=str(tree))
    answers: list[Json] = []

    def ask() -> None:
        with target.client() as other:
            answers.append(
                other.json(f"/watchers/{events.id}/changes", since=events.start, wait=60)
            )

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: waits(target, events.id))
    client.request("DELETE", f"/watchers/{events.id}")
    thread.join(20)
    assert [(one["active"], one["fresh"], one["changes"]) for one in answers] == [
        (False, False, [])
    ]


def waits(target: Target, watcher_id: str) -> bool:
    """Whether the other client's request has begun: it is not in the log before it ends, so its
    connection is looked for."""
    port = f":{target.port:04X}"
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    found = [row.split() for row in rows]
    return sum(row[1].endswith(port) and row[3] == "01" for row in found) >= 2


def test_a_client_that_leaves_while_waiting_is_noticed(target: Target, tree: Path) -> None:
    with target.client() as client:
        events = watch(client, path=str(tree))
        path = f"/watchers/{events.id}/changes?since={events.start}&wait=3600"
        with socket.create_connection(("127.0.0.1", target.port)) as one:
            head = f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {target.token}\r\n\r\n"
            one.sendall(head.encode())
        logged = f"/watchers/{events.id}/changes"
        wait_until(lambda: logged in target.log.read_text())


# --- the root ----------------------------------------------------------------------------------


def removed(tree: Path) -> None:
    shutil.rmtree(tree)


def renamed(tree: Path) -> None:
    tree.rename(tree.parent / "elsewhere")


def parent_renamed(tree: Path) -> None:
    tree.parent.rename(tree.parent.parent / "elsewhere")


def swapped_for_a_symlink(tree: Path) -> None:
    tree.rename(tree.parent / "elsewhere")
    tree.symlink_to("elsewhere")


def swapped_for_another(tree: Path) -> None:
    (tree.parent / "other").mkdir()
    trees.exchange(tree, tree.parent / "other")


@pytest.mark.parametrize(
    "work", [removed, renamed, parent_renamed, swapped_for_a_symlink, swapped_for_another]
)
def test_a_root_that_goes_is_told_and_the_watcher_rests(
    client: Client, tmp_path: Path, work: object
) -> None:
    tree = tmp_path / "above" / "tree"
    trees.build(tree, {"a/b": ""})
    events = watch(client, path=str(tree))
    assert callable(work)
    work(tree)
    told = events.until("")
    assert (told[-1]["path"], told[-1]["op"]) == (str(tree), "remove")
    wait_until(lambda: not events.facts["active"])
    answer = client.json(f"/watchers/{events.id}/changes", since=events.at, wait=60)
    assert (answer["active"], answer["changes"]) == (False, [])


def test_a_root_that_is_removed_while_somebody_stands_in_it_is_told(
    client: Client, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    events = watch(client, path=str(tree))
    held = os.open(tree, os.O_RDONLY)
    try:
        tree.rmdir()
        assert events.take(1)[0]["op"] == "remove"
    finally:
        os.close(held)


def test_a_root_behind_a_symlink_that_is_led_elsewhere_is_told(
    client: Client, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    events = watch(client, path=str(link))
    os.mknod(tmp_path / "one/a")
    assert [one["path"] for one in events.take(1)] == [f"{link}/a"]
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(link)
    assert [(one["path"], one["op"]) for one in events.take(1)] == [(str(link), "remove")]


# --- ignore rules ------------------------------------------------------------------------------


def test_ignore_rules_are_followed(client: Client, tree: Path) -> None:
    spec: trees.Spec = {
        ".git/HEAD": "ref: refs/heads/a\n",
        ".git/objects/": None,
        ".git/refs/": None,
    }
    trees.build(tree, {**spec, ".gitignore": "*.log\n/out/\n", "src/": None, "out/deep/": None})
    events = watch(client, path=str(tree), use_gitignore=True)
    assert (events.facts["dirs"], events.facts["use_gitignore"]) == (2, True)
    for name in ("a.log", "out/x", "src/b.log", "src/c"):
        os.mknod(tree / name)
    assert events.ops(1) == {"src/c": "create"}


def test_a_tracked_file_is_told_of_whatever_the_rules_say(client: Client, tree: Path) -> None:
    trees.build(
        tree, {".gitignore": "out/\n*.log\n", "a.log": "", "out/kept": "", "out/deep/b": ""}
    )
    for words in (("init",), ("add", "--force", ".gitignore", "a.log", "out/kept")):
        subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True)
    events = watch(client, path=str(tree), use_gitignore=True)
    for name in ("a.log", "b.log", "out/kept", "out/new", "out/deep/b", "end"):
        (tree / name).write_text("more")
    found = {events.rel(one) for one in events.until("end")}
    assert found == {"a.log", "out/kept", "end"}
    assert events.facts["dirs"] == 2


def test_rules_that_change_make_the_tree_another_one(client: Client, tree: Path) -> None:
    trees.build(tree, {".gitignore": "out/\n", "src/": None, "out/deep/": None})
    events = watch(client, path=str(tree), use_gitignore=True)
    (tree / ".gitignore").write_text("src/\n")
    told: Json = {}

    def is_fresh() -> bool:
        told.update(client.json(f"/watchers/{events.id}/changes", since=events.start, wait=1))
        return bool(told["fresh"])

    wait_until(is_fresh)
    events.at = told["seq"]
    wait_until(lambda: events.facts["dirs"] == 3)
    os.mknod(tree / "src/a")
    os.mknod(tree / "out/deep/b")
    assert "out/deep/b" in {
        one["path"].removeprefix(f"{tree}/") for one in events.until("out/deep/b")
    }
    assert not any(one["path"].endswith("src/a") for one in events.seen)


# --- faults ------------------------------------------------------------------------------------


def test_a_burst_is_told_whole_or_as_lost(client: Client, tree: Path) -> None:
    events = watch(client, path=str(tree))
    places = [tree / f"d{number}" for number in range(100)]
    for place in places:
        place.mkdir()
    for number in range(100_000):
        os.close(os.open(places[number % 100] / str(number), os.O_CREAT | os.O_WRONLY, 0o644))
    os.mknod(tree / "end")
    found = events.until("end", lossy=True)
    if not events.lost:
        names = {one["path"] for one in found}
        assert all(str(places[n % 100] / str(n)) in names for n in range(100_000))
    wait_until(lambda: events.facts["dirs"] == 101)
    # Whatever was lost, from here on it tells everything.
    (places[50] / "after").touch()
    assert events.until("d50/after")


def test_a_queue_that_overflows_in_the_kernel_is_told(
    client: Client, target: Target, tree: Path
) -> None:
    """More than `fs.inotify.max_queued_events` while the server takes none."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    events = watch(client, path=str(tree))
    os.kill(target.pid, signal.SIGSTOP)
    try:
        for number in range(most + 100):
            os.mknod(tree / str(number))
    finally:
        os.kill(target.pid, signal.SIGCONT)
    path = f"/watchers/{events.id}/changes"
    wait_until(lambda: client.json(path, since=events.start, wait=1)["fresh"])
    events.at = client.json(path, since=events.start)["seq"]
    (tree / "d").mkdir()
    os.mknod(tree / "d" / "after")
    assert events.until("d/after", lossy=True)


def test_a_storm_of_renames_ends_in_what_is_there(client: Client, tree: Path) -> None:
    trees.build(tree, {"0/a/b/c": "", "0/d": "", "0/a/e/": None})
    events = watch(client, path=str(tree))
    for number in range(500):
        (tree / str(number)).rename(tree / str(number + 1))
    os.mknod(tree / "end")
    known = {"0", "0/a", "0/a/b", "0/a/b/c", "0/d", "0/a/e"}
    model = events.replayed(known, until="end")
    assert model == {one.replace("0", "500", 1) for one in known} | {"end"}
    wait_until(lambda: events.facts["dirs"] == 5)


def test_the_limit_of_directories_is_told(tmp_path: Path) -> None:
    """By our own limit, which the engine answers to as to the system's."""
    tree = tmp_path / "tree"
    trees.build(tree, {f"d{number}/": None for number in range(50)})
    with (
        serving(tmp_path / "server", "--watch-directories=40") as target,
        target.client() as client,
    ):
        told = watch(client, path=str(tree)).facts
        assert told["incomplete"] is True
        assert "max_user_watches" in told["incomplete_reason"]
        assert told["dirs"] < 50
        client.request("DELETE", f"/watchers/{told['id']}")
        small = tmp_path / "small"
        small.mkdir()
        wait_until(lambda: not client.json("/watchers")["watchers"])
        events = wait_for_room(client, small)
        for number in range(50):
            (small / f"e{number}").mkdir()
        wait_until(lambda: events.facts["incomplete"])
        wait_until(
            lambda: client.json(f"/watchers/{events.id}/changes", since=events.start)["fresh"]
        )


def wait_for_room(client: Client, place: Path) -> Events:
    """A watcher that covers its tree, once the watches of one that has ended are given back."""
    found: list[Events] = []

    def is_whole() -> bool:
        one = watch(client, path=str(place))
        if one.facts["incomplete"]:
            client.request("DELETE", f"/watchers/{one.id}")
            return False
        found.append(one)
        return True

    wait_until(is_whole)
    return found[0]


@cache
def _has_user_namespaces() -> bool:
    words = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    words.append("echo 100 > /proc/sys/user/max_inotify_watches")
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _has_user_namespaces(), reason="no user namespaces")
def test_the_systems_limit_is_told(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    trees.build(tree, {f"d{number}/": None for number in range(50)})
    script = 'echo 30 > /proc/sys/user/max_inotify_watches; exec "$@"'
    preexec = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        told = watch(client, path=str(tree)).facts
        assert (told["incomplete"], told["active"]) == (True, True)
        assert "max_user_watches" in told["incomplete_reason"]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root gives files away"
)
def test_unreadable_directories_are_told(tmp_path: Path) -> None:
    """By a server that is root without a single capability."""
    tree = tmp_path / "tree"
    trees.build(tree, {f"d{number}/": None for number in range(5)})
    os.chown(tree / "d3", 1234, 1234)
    (tree / "d3").chmod(0o700)
    preexec = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        told = watch(client, path=str(tree)).facts
        assert (told["incomplete"], told["active"], told["dirs"]) == (True, True, 5)
        assert f"{tree}/d3 (Permission denied" in told["incomplete_reason"]
        body = {"path": str(tree / "d3")}
        assert client.failure("POST", "/watchers", 403, body=body)["code"] == "forbidden"


def test_a_watcher_is_ready_within_an_events_time(client: Client, tree: Path) -> None:
    """What changes right after the answer is told."""
    for number in range(20):
        place = tree / str(number)
        place.mkdir()
        events = watch(client, path=str(place))
        os.mknod(place / "a")
        assert events.ops(1) == {"a": "create"}
        client.request("DELETE", f"/watchers/{events.id}")

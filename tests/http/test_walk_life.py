"""Listings under strain: readers that pause or leave, files that change, what cannot be read.

Source: wire contract, section 1, "a client that goes away", "a stream that cannot be
completed"; section 2, "List and stream".
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import trees
from tests.client import Client
from tests.serving import Target, serving

Json = dict[str, Any]

WIDE: trees.Spec = {f"d{n:02}/{'x' * 200}{i:03}": "" for n in range(60) for i in range(300)}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18,060 entries with long names: some 9 MB of lines, more than sockets hold."""
    return trees.build(tmp_path_factory.mktemp("wide"), WIDE)


def paused(client: Client, target: str) -> bytes:
    """The answer to a GET, read in bites with pauses in which everything fills up."""
    found = []
    with client.http.stream("GET", target) as answer:
        assert answer.status_code == 200
        for number, bite in enumerate(answer.iter_raw(512 * 1024)):
            found.append(bite)
            if number < 4:
                time.sleep(0.1)  # the pause is the test: nothing announces a full socket
    return b"".join(found)


def test_a_reader_that_pauses_gets_every_line(client: Client, wide: Path) -> None:
    lines = paused(client, f"/files/stream?path={wide}").splitlines()
    assert len(lines) == len(set(lines)) == len(WIDE) + 60 + 2
    assert json.loads(lines[-1]) == {"event": "done", "count": len(WIDE) + 60}


def test_a_reader_of_a_list_that_pauses_gets_it_whole(client: Client, wide: Path) -> None:
    told = json.loads(paused(client, f"/files?path={wide}&nested=1&flatten=1"))
    assert told["count"] == len(told["entries"]) == len(WIDE) + 60


LONG = {f"long{n}": f"line {n} ž\n" * 300_000 for n in range(5)}


@pytest.mark.parametrize("form", ["stream", "flat", "tree"])
def test_long_texts_stay_whole_among_small_ones(client: Client, tree: Path, form: str) -> None:
    texts = LONG | {f"s{n:03}/small": f"small {n}\n" for n in range(300)}
    trees.build(tree, texts)
    query = "include_content=1&include_hash=1"
    if form == "stream":
        lines = paused(client, f"/files/stream?path={tree}&{query}").splitlines()
        entries = [one for one in map(json.loads, lines) if "event" not in one]
    else:
        flat = "&flatten=1" if form == "flat" else ""
        told = json.loads(paused(client, f"/files?path={tree}&nested=1{flat}&{query}"))
        entries = list(flattened(told["entries"]))
    found = {os.path.relpath(one["path"], tree): one for one in entries}
    for name, text in texts.items():
        assert found[name].get("content") == text, name
        assert found[name]["hash"] == trees.sha256(tree / name)


def flattened(entries: list[Json]) -> Iterator[Json]:
    for one in entries:
        yield one
        yield from flattened(one.get("children", []))


def descriptors(target: Target) -> dict[str, str]:
    """What the server holds open, without what comes and goes by itself."""
    place = f"/proc/{target.pid}/fd"
    found = {}
    for one in os.listdir(place):
        try:
            found[one] = os.readlink(f"{place}/{one}")
        except FileNotFoundError:
            continue
    return found


def test_a_client_that_goes_away_frees_its_walk(tmp_path: Path, wide: Path) -> None:
    with serving(tmp_path) as target, target.client() as client:
        client.json("/runtime")
        client.entries(path=wide, max_depth=1)
        before = len(descriptors(target))
        for query in ("", "&include_hash=1", "&include_content=1"):
            for form in ("files/stream?", "files?nested=1&"):
                with (
                    target.client() as other,
                    other.http.stream("GET", f"/{form}path={wide}{query}") as answer,
                ):
                    next(answer.iter_raw(1000))
        deadline = time.monotonic() + 2
        # The connection of `client` itself is one of those counted.
        while len(descriptors(target)) > before:
            assert time.monotonic() < deadline, descriptors(target)
            time.sleep(0.02)


def test_a_long_silence_is_filled_with_progress(tmp_path: Path, tree: Path) -> None:
    with (tree / "sparse").open("wb") as file:
        file.truncate(512 * 1024**2)
    with serving(tmp_path, "--silence-seconds=0.02") as target, target.client() as client:
        lines = client.lines("/files/stream", path=tree, include_hash=True)
    events = [one.get("event") for one in lines]
    assert events[0] == "start"
    assert "progress" in events
    assert lines[-2]["hash"] == trees.sha256(tree / "sparse")


def test_a_hash_under_way_is_ended_by_its_client_leaving(tmp_path: Path, tree: Path) -> None:
    with (tree / "sparse").open("wb") as file:
        file.truncate(1024**4)
    with serving(tmp_path) as target, target.client() as client:
        with (
            target.client() as other,
            other.http.stream("GET", f"/files/stream?path={tree}&include_hash=1") as answer,
        ):
            next(answer.iter_raw(10))
        deadline = time.monotonic() + 2
        while any(link.endswith("/sparse") for link in descriptors(target).values()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        client.json("/runtime")


def test_files_that_change_while_they_are_read(client: Client, tree: Path) -> None:
    names = [tree / f"f{number}" for number in range(20)]
    over = threading.Event()

    def change() -> None:
        number = 0
        while not over.is_set():
            number += 1
            path = names[number % len(names)]
            match number % 4:
                case 0:
                    path.unlink(missing_ok=True)
                case 1:
                    path.write_bytes(b"\xff\0" * (number % 3000))
                case 2:
                    path.write_text("text ž\n" * (number * 997 % 400_000))
                case _:
                    os.truncate(path, number % 5000) if path.exists() else path.mkdir()
                    if path.is_dir():
                        path.rmdir()

    worker = threading.Thread(target=change)
    worker.start()
    try:
        for number in range(30):
            query = {"path": tree, "include_content": True, "include_hash": True}
            if number % 3:
                client.lines("/files/stream", **query)
            else:
                client.json("/files", nested=True, **query)
    finally:
        over.set()
        worker.join()


def test_many_listings_at_once(target: Target, wide: Path) -> None:
    found: list[int] = []

    def one(form: str) -> None:
        with target.client() as client:
            if form == "stream":
                found.append(len(client.entries(path=wide)))
            else:
                found.append(client.json("/files", path=wide, nested=True)["count"])

    threads = [threading.Thread(target=one, args=(form,)) for form in ("stream", "tree") * 10]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [len(WIDE) + 60] * 20


# --- what cannot be read -----------------------------------------------------------------------

# Root reads everything; a server without these two capabilities is refused like anybody else.
MORTAL = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    preexec = MORTAL if os.geteuid() == 0 else None
    with (
        serving(tmp_path_factory.mktemp("mortal"), preexec=preexec) as target,
        target.client() as client,
    ):
        yield client


@pytest.fixture
def guarded(tree: Path) -> Iterator[Path]:
    trees.build(tree, {"open/a": "a", "closed/b": "b", "listed/c": "c", "secret": "s"})
    modes = {"closed": 0o000, "listed": 0o444, "secret": 0o000}
    for name, mode in modes.items():
        (tree / name).chmod(mode)
    yield tree
    for name in modes:
        (tree / name).chmod(0o755)


def test_an_unreadable_directory_does_not_end_a_stream(mortal: Client, guarded: Path) -> None:
    lines = mortal.lines("/files/stream", path=guarded)
    found = {one["path"] for one in lines if "event" not in one}
    assert found >= {str(guarded / name) for name in ("open", "open/a", "closed", "secret")}
    errors = {one["path"]: one["error"] for one in lines if one.get("event") == "error"}
    assert errors[str(guarded / "closed")] == "permission denied"
    # Names can be read there, metadata cannot: the entry stands, and the error is said.
    assert str(guarded / "listed/c") in found
    assert str(guarded / "listed/c") in errors


@pytest.mark.parametrize("flatten", [True, False])
def test_an_unreadable_directory_does_not_end_a_list(
    mortal: Client, guarded: Path, flatten: bool
) -> None:
    told = mortal.json("/files", path=guarded, nested=True, flatten=flatten)
    errors = {one["path"]: one["error"] for one in told["errors"]}
    assert errors[str(guarded / "closed")] == "permission denied"
    (closed,) = [one for one in told["entries"] if one["name"] == "closed"]
    assert "children" not in closed


def test_an_unreadable_root_is_403(mortal: Client, guarded: Path) -> None:
    for endpoint in ("/files", "/files/stream"):
        told = mortal.failure("GET", endpoint, 403, query={"path": guarded / "closed"})
        assert str(guarded / "closed") in told["error"]


@pytest.mark.parametrize("endpoint", ["/files", "/files/stream"])
def test_an_unreadable_file_says_why_it_has_no_content(
    mortal: Client, guarded: Path, endpoint: str
) -> None:
    query = {"path": guarded, "include_content": True, "include_hash": True}
    if endpoint == "/files":
        entries = mortal.json(endpoint, **query)["entries"]
    else:
        entries = mortal.entries(**query)
    (secret,) = [one for one in entries if one["name"] == "secret"]
    assert secret["content_skipped"] == "unreadable"
    assert secret["hash_skipped"] == "unreadable"


# --- pseudo file systems -----------------------------------------------------------------------


def test_contents_of_a_pseudo_file_system_do_not_block(client: Client) -> None:
    lines = client.lines(
        "/files/stream", path="/proc/self", max_depth=1, include_content=True, include_hash=True
    )
    files = {one["name"]: one for one in lines if one.get("type") == "file"}
    assert "Name:" in files["status"]["content"]
    assert files["status"]["hash_skipped"] == "pseudo_filesystem"


def test_specials_have_neither_content_nor_hash(client: Client, tree: Path) -> None:
    trees.make_fifo(tree / "fifo")
    trees.make_socket(tree / "socket")
    (tree / "link").symlink_to("/dev/zero")
    for one in client.entries(path=tree, include_content=True, include_hash=True):
        assert not {"content", "hash", "content_skipped", "hash_skipped"} & set(one)

"""`POST /files/mkdir`.

Oracle: `os.stat`. Source: wire contract, section 2, "Mkdir".
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import trees
from tests.client import Client, Json, b64
from tests.trees import mode

MKDIR = "/files/mkdir"


def mkdir(client: Client, path: Path, **rest: object) -> Json:
    answer = client.request("POST", MKDIR, body={"path": str(path), **rest})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_makes_the_directory_and_its_parents(client: Client, tree: Path) -> None:
    told = mkdir(client, tree / "a/b/c")
    assert told == {"success": True, "path": str(tree / "a/b/c"), "created": True}
    assert {mode(tree / one) for one in ("a", "a/b", "a/b/c")} == {0o755}


def test_is_idempotent_and_leaves_what_is_there(client: Client, tree: Path) -> None:
    mkdir(client, tree / "a", mode="0700")
    (tree / "a/file").touch()
    before = (tree / "a").stat()
    assert mkdir(client, tree / "a", mode="0755")["created"] is False
    assert (tree / "a").stat() == before
    (tree / "link").symlink_to("a")
    assert mkdir(client, tree / "link")["created"] is False
    assert mkdir(client, Path("/"))["created"] is False


@pytest.mark.parametrize("text", ["0700", "755", "1777", "0", "0o750"])
def test_the_mode_is_that_of_the_last_alone(client: Client, tree: Path, text: str) -> None:
    mkdir(client, tree / "a/b", mode=text)
    assert (mode(tree / "a"), mode(tree / "a/b")) == (0o755, int(text.removeprefix("0o"), 8))


@pytest.mark.parametrize("text", ["", "9", "rwx", "10000", "-1"])
def test_what_is_no_mode_is_400(client: Client, tree: Path, text: str) -> None:
    body = {"path": str(tree / "a"), "mode": text}
    assert "mode" in client.failure("POST", MKDIR, 400, body=body)["error"]
    assert os.listdir(tree) == []


def test_the_group_of_the_parent_is_handed_on(client: Client, tree: Path) -> None:
    tree.chmod(0o2755)
    mkdir(client, tree / "a/b", mode="0700")
    assert (mode(tree / "a"), mode(tree / "a/b")) == (0o2755, 0o2700)


IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "file": lambda at: at.touch(),
    "fifo": trees.make_fifo,
    "dangling link": lambda at: at.symlink_to("nothing"),
    "link to a file": lambda at: at.symlink_to("/etc/passwd"),
    "loop": lambda at: at.symlink_to(at.name),
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_what_is_in_the_way_is_400(client: Client, tree: Path, name: str) -> None:
    IN_THE_WAY[name](tree / "thing")
    for path in (tree / "thing", tree / "thing/a", tree / "thing/a/b"):
        told = client.failure("POST", MKDIR, 400, body={"path": str(path)})
        assert str(path) in told["error"]
    assert os.listdir(tree) == ["thing"]


def test_names_that_are_too_long_are_400(client: Client, tree: Path) -> None:
    for path in (tree / ("n" * 256), tree / "/".join(["d" * 200] * 25)):
        told = client.failure("POST", MKDIR, 400, body={"path": str(path)})
        assert "too long" in told["error"]
    assert os.listdir(tree) == []


def test_a_name_that_is_not_utf8(client: Client, tree: Path) -> None:
    path = os.fsencode(tree) + b"/\xff\xfe"
    answer = client.request("POST", MKDIR, body={"path_b64": b64(path)})
    assert answer.status_code == 201
    assert answer.json()["path_b64"] == b64(path)
    assert os.path.isdir(path)


def test_many_at_once_make_one(client: Client, tree: Path) -> None:
    told: list[Json] = []
    threads = [
        threading.Thread(target=lambda: told.append(mkdir(client, tree / "a/b/c/d")))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one["created"] for one in told].count(True) == 1
    assert len(told) == 12


def test_a_missing_path_is_400(client: Client) -> None:
    assert "path" in client.failure("POST", MKDIR, 400, body={})["error"]

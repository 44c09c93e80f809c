"""`POST /files/chmod`. Oracles: `os.lstat`, and `chmod -R`.

Source: wire contract, section 2, in the voice of "Write" (`mode`) and "Delete" (accounts).
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest
from tests import trees
from tests.client import Client, Json, b64
from tests.serving import Target, serving
from tests.trees import build, mode
from tests.watching import held

CHMOD = "/files/chmod"


def chmod(client: Client, path: object, bits: str, **more: object) -> Json:
    """A change that must succeed."""
    body = {"path": str(path), "mode": bits, **more}
    answer = client.request("POST", CHMOD, body=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(client: Client, status: int, path: object, bits: object, **more: object) -> Json:
    body = {"path": str(path), "mode": bits, **more}
    return client.failure("POST", CHMOD, status, body=body)


def modes(top: Path) -> dict[bytes, int]:
    """The bits of everything at and below a path."""
    paths = [os.fsencode(top), *trees.everything(top)]
    root = len(os.fsencode(top))
    return {path[root:]: stat.S_IMODE(os.lstat(path).st_mode) for path in paths}


@pytest.mark.parametrize(
    ("bits", "wanted"),
    [("0644", 0o644), ("7", 0o7), ("4755", 0o4755), ("0o1777", 0o1777), ("0", 0), ("0000", 0)],
)
def test_one_file_gets_its_bits(client: Client, tree: Path, bits: str, wanted: int) -> None:
    build(tree, {"file": "x", "dir/inner": ""})
    answer = chmod(client, tree / "file", bits)
    told = {"success": True, "path": f"{tree}/file", "mode": f"{wanted:04o}", "changed": 1}
    assert answer == told
    assert mode(tree / "file") == wanted
    inner = mode(tree / "dir/inner")
    chmod(client, tree / "dir", bits)
    assert (mode(tree / "dir"), mode(tree / "dir/inner")) == (wanted, inner)


@pytest.mark.parametrize("bits", ["", "8", "0888", "77777", "rw", "-1", " 644", "u+x", "0x1ff"])
def test_what_is_no_mode_is_400(client: Client, tree: Path, bits: str) -> None:
    (tree / "file").touch()
    before = mode(tree / "file")
    assert refused(client, 400, tree / "file", bits)["error"].startswith("mode")
    told = refused(client, 400, tree / "file", "0644", dir_mode=bits)
    assert told["error"].startswith("dir_mode")
    # Decimal for octal would be a trap.
    assert "mode" in refused(client, 400, tree / "file", 644)["error"]
    body = {"path": str(tree / "file")}
    assert client.failure("POST", CHMOD, 400, body=body)["error"].startswith("mode: missing")
    assert mode(tree / "file") == before


def test_a_tree_changes_as_chmod_does_it(client: Client, tree: Path) -> None:
    for name in ("ours", "oracle"):
        top = build(tree / name, {"a/b/c": "", "a/d": "", "e/": None})
        trees.make_fifo(top / "fifo")
        (top / "link").symlink_to(tree / "outside")
        (top / "to-dir").symlink_to(tree / "away")
    build(tree, {"outside": "", "away/file": ""})
    before = mode(tree / "outside"), mode(tree / "away"), mode(tree / "away/file")
    answer = chmod(client, tree / "ours", "0750", recursive=True)
    subprocess.run(["chmod", "-R", "0750", str(tree / "oracle")], check=True)
    assert modes(tree / "ours") == modes(tree / "oracle")
    assert answer["changed"] == len(modes(tree / "ours")) - 2
    assert (mode(tree / "outside"), mode(tree / "away"), mode(tree / "away/file")) == before


def test_directories_may_differ(client: Client, tree: Path) -> None:
    top = build(tree / "top", {"a/b": "", "c": ""})
    chmod(client, top, "0640", dir_mode="0750", recursive=True)
    assert set(modes(top).items()) == {
        (b"", 0o750),
        (b"/a", 0o750),
        (b"/a/b", 0o640),
        (b"/c", 0o640),
    }
    chmod(client, top, "0600", dir_mode="0700")
    assert (mode(top), mode(top / "a")) == (0o700, 0o750)
    chmod(client, top / "c", "0600", dir_mode="0700")
    assert mode(top / "c") == 0o600


def test_through_a_link_its_target_changes(client: Client, tree: Path) -> None:
    build(tree, {"dir/file": ""})
    (tree / "link").symlink_to("dir")
    chmod(client, tree / "link", "0701", recursive=True)
    assert (mode(tree / "dir"), mode(tree / "dir/file")) == (0o701, 0o701)
    (tree / "dangling").symlink_to("nothing")
    refused(client, 404, tree / "dangling", "0644")


def test_what_is_not_there(client: Client, tree: Path) -> None:
    (tree / "file").touch()
    assert f"{tree}/a" in refused(client, 404, tree / "a", "0644")["error"]
    refused(client, 404, tree / "a/b", "0644")
    refused(client, 400, tree / "file/a", "0644")
    refused(client, 400, tree / ("n" * 256), "0644")


def test_a_name_that_is_not_utf8(client: Client, tree: Path) -> None:
    path = os.fsencode(tree) + b"/\xff"
    os.mkdir(path)
    body = {"path_b64": b64(path), "mode": "0711"}
    assert client.request("POST", CHMOD, body=body).json()["path_b64"] == b64(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o711


def test_what_is_protected_stays_as_it_is(target: Target, client: Client, tree: Path) -> None:
    (tree / "up").symlink_to("/")
    before = {path: os.stat(path).st_mode for path in ("/proc", "/sys", target.state_dir)}
    for path in before:
        for spelling in (str(path), f"{path}/.", f"{tree}/up{path}", f"/proc/self/root{path}"):
            for recursive in (True, False):
                told = refused(client, 403, spelling, "0777", recursive=recursive)
                assert "protected" in told["error"], spelling
    # Not by a link to it either: the link's target would change.
    (tree / "proc").symlink_to("/proc")
    refused(client, 403, tree / "proc", "0777")
    assert {path: os.stat(path).st_mode for path in before} == before


def test_conditions_hold(client: Client, tree: Path) -> None:
    (tree / "a").write_text("x")
    (tree / "a").chmod(0o600)
    right = hashlib.sha256(b"x").hexdigest()
    told = refused(client, 412, tree / "a", "0644", expected_hash="0" * 64)
    assert told["hash"] == right
    assert mode(tree / "a") == 0o600
    chmod(client, tree / "a", "0644", expected_hash=right)
    assert mode(tree / "a") == 0o644


def test_half_way_says_what_failed(client: Client, tree: Path) -> None:
    top = build(tree / "top", {"a/kept": "", "b": ""})
    if subprocess.run(
        ["chattr", "+i", top / "a/kept"], check=False, capture_output=True
    ).returncode:
        pytest.skip("no immutable files here")
    try:
        told = refused(client, 403, top, "0700", recursive=True)
        assert [one["path"] for one in told["errors"]] == [str(top / "a/kept")]
        assert (told["changed"], told["code"]) == (3, "forbidden")
        assert (mode(top), mode(top / "b")) == (0o700, 0o700)
    finally:
        subprocess.run(["chattr", "-i", str(top / "a/kept")], check=True)


def test_a_deadline_is_504(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {f"{index}": "" for index in range(10)})
    with serving(tmp_path / "server", "--copy-seconds=1e-9") as target, target.client() as client:
        told = refused(client, 504, top, "0700", recursive=True)
    assert (told["code"], told["changed"]) == ("timeout", 0)


def test_hundreds_of_levels(target: Target, client: Client, tree: Path) -> None:
    trees.make_deep(tree, 500)
    try:
        assert chmod(client, tree / "d", "0711", recursive=True)["changed"] == 500
        words = ["find", str(tree / "d"), "-perm", "0711"]
        found = subprocess.run(words, check=True, capture_output=True)
        assert found.stdout.count(b"\n") == 500
        assert held(target.pid, tree) == []
    finally:
        trees.remove_deep(tree / "d")

"""Changes by a server that may not do everything: root without a single capability.

Oracle: the permissions that the files were given.
Source: wire contract, section 2, "Write" and "Delete".
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.archives import members
from tests.client import Client, Json
from tests.serving import serving
from tests.trees import build, mode

OTHER = 1234

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root gives files away",
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server whose user owns files, and has no power over those of others."""
    preexec = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    with serving(tmp_path_factory.mktemp("plain"), preexec=preexec) as target:
        with target.client() as client:
            yield client


def foreign(path: Path, bits: int) -> Path:
    """Gives a file or directory to somebody else."""
    os.chown(path, OTHER, OTHER)
    path.chmod(bits)
    return path


def write(client: Client, status: int, path: Path, **rest: object) -> Json:
    body = {"path": str(path), "content": "new", **rest}
    answer = client.request("POST", "/files/write", body=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def test_own_files_are_made_and_replaced(plain: Client, tree: Path) -> None:
    for _ in range(2):
        write(plain, 201, tree / "a/file", create_dirs=True)
    assert os.listdir(tree / "a") == ["file"]
    assert (tree / "a/file").read_text() == "new"


def test_what_may_not_be_written_is_403_and_stays(plain: Client, tree: Path) -> None:
    build(tree, {"file": "old", "dir/file": "old", "hidden/file": "old"})
    foreign(tree / "file", 0o644)
    foreign(tree / "dir", 0o755)
    foreign(tree / "hidden", 0o700)
    for path in (tree / "file", tree / "dir/new", tree / "dir/file", tree / "hidden/file"):
        for options in ({}, {"append": True}):
            if (path, options) == (tree / "dir/file", {"append": True}):
                continue  # ours, and no directory has to change for that
            assert write(plain, 403, path, **options)["code"] == "forbidden", path
    write(plain, 403, tree / "dir/a/file", create_dirs=True)
    answer = plain.request("POST", "/files/mkdir", body={"path": str(tree / "dir/a")})
    assert answer.status_code == 403
    assert (tree / "file").read_text() == "old"
    assert sorted(os.listdir(tree / "dir")) == ["file"]


def test_an_owner_that_cannot_be_kept_takes_set_id_bits_along(plain: Client, tree: Path) -> None:
    path = tree / "file"
    path.write_text("old")
    foreign(path, 0o6757)
    write(plain, 201, path)
    told = path.stat()
    assert (told.st_uid, stat.S_IMODE(told.st_mode)) == (0, 0o757)
    foreign(path, 0o666)
    write(plain, 201, path, mode="4755")
    assert mode(path) == 0o4755


def test_a_directory_that_may_not_be_read_stops_a_removal_half_way(
    plain: Client, tree: Path
) -> None:
    top = build(tree / "top", {"a/file": "", "hidden/file": "", "locked/file": "", "shut/": None})
    foreign(top / "hidden", 0o700)
    foreign(top / "locked", 0o755)
    foreign(top / "shut", 0o700)
    answer = plain.request("DELETE", "/files/delete", query={"path": top})
    told = answer.json()
    assert (answer.status_code, told["code"], told["success"]) == (403, "forbidden", False)
    failed = {str(top / "hidden"), str(top / "locked/file")}
    assert {one["path"] for one in told["errors"]} == failed
    # An empty directory goes, readable or not.
    assert sorted(os.listdir(top)) == ["hidden", "locked"]
    assert {one["path"] for one in told["remaining"]} == {str(top), str(top / "locked"), *failed}
    # What could not be looked into is not known.
    assert told["remaining_truncated"] is True
    assert told["removed"] == 3


def test_a_copy_takes_what_may_be_read_and_names_the_rest(plain: Client, tree: Path) -> None:
    top = build(tree / "top", {"a/file": "x", "hidden/file": "", "set": "", "shut": "secret"})
    foreign(top / "hidden", 0o700)
    foreign(top / "shut", 0o600)
    foreign(top / "set", 0o6755)
    body = {"source": str(top), "destination": str(tree / "new")}
    answer = plain.request("POST", "/files/copy", body=body)
    told = answer.json()
    assert (answer.status_code, told["code"], told["copied"]) == (403, "forbidden", 4)
    failed = {str(top / "hidden"), str(top / "shut")}
    assert {one["path"] for one in told["errors"]} == failed
    assert sorted(os.listdir(tree / "new")) == ["a", "set"]
    # An owner that cannot be kept takes set-id bits along.
    made = (tree / "new/set").stat()
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (0, 0o755)


def test_a_move_that_may_not_be_made_changes_nothing(plain: Client, tree: Path) -> None:
    build(tree, {"dir/file": "x", "own": "y"})
    foreign(tree / "dir", 0o755)
    for source, destination in (("dir/file", "new"), ("own", "dir/new")):
        body = {"source": str(tree / source), "destination": str(tree / destination)}
        answer = plain.request("POST", "/files/move", body=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert sorted(os.listdir(tree)) == ["dir", "own"]


def test_modes_of_what_belongs_to_others_stay(plain: Client, tree: Path) -> None:
    top = build(tree / "top", {"a/own": "", "a/foreign": "", "closed/own": ""})
    foreign(top / "a/foreign", 0o644)
    (top / "closed").chmod(0)
    body = {"path": str(top), "mode": "0700", "recursive": True}
    told = plain.request("POST", "/files/chmod", body=body).json()
    assert [one["path"] for one in told["errors"]] == [str(top / "a/foreign")]
    assert (told["code"], told["changed"]) == ("forbidden", 5)
    # One that was closed to its owner is opened, and what is in it changed.
    assert mode(top / "closed/own") == 0o700
    assert mode(top / "a/foreign") == 0o644


def test_a_search_tells_what_it_may_not_read(plain: Client, tree: Path) -> None:
    build(tree, {"open/a": "word", "file": "word", "dir/b": "word", "c": "word"})
    foreign(tree / "file", 0o600)
    foreign(tree / "dir", 0o700)
    told = plain.json("/files/search", q="word", path=tree)
    assert set(told["results"]) == {"open/a", "c"}
    denied = [{"path": str(tree / name), "error": "permission denied"} for name in ("dir", "file")]
    assert sorted(told["errors"], key=lambda one: str(one["path"])) == denied
    lines = plain.lines("/files/search/stream", q="word", path=tree)
    events = [one for one in lines if one.get("event") == "error"]
    assert len(events) == 2
    for name in ("file", "dir"):
        query: dict[str, object] = {"q": "word", "path": tree / name}
        assert plain.failure("GET", "/files/search", 403, query=query)["code"] == "forbidden"
    names = plain.json("/files/search/files", q="c", path=tree)
    assert (names["files"], names["errors"]) == (["c"], denied[:1])
    query = {"q": "c", "path": tree / "dir"}
    plain.failure("GET", "/files/search/files", 403, query=query)


def test_errors_of_a_search_have_their_bound(plain: Client, tree: Path) -> None:
    build(tree, {f"f{n:04}": "word" for n in range(1100)} | {"open": "word"})
    for n in range(1100):
        foreign(tree / f"f{n:04}", 0o600)
    told = plain.json("/files/search", q="word", path=tree)
    assert set(told["results"]) == {"open"}
    assert len(told["errors"]) == 1000
    assert told["errors_truncated"] is True


def test_what_may_not_be_read_is_left_out_of_an_archive_and_named(
    plain: Client, tree: Path
) -> None:
    build(tree, {"file": "x", "secret": "x", "closed/file": "x"})
    foreign(tree / "secret", 0o600)
    foreign(tree / "closed", 0o700)
    body: Json = {"paths": [str(tree)]}
    answer = plain.request("POST", "/files/transfer/download", body=body)
    found = members(answer.content)
    assert {one.name for one in found} == {"tree", "tree/file"}
    told = json.loads(found[-1].pax_headers["comment"])["skipped"]
    denied = {(f"{tree}/{name}", "permission denied") for name in ("secret", "closed")}
    assert {(one["path"], one["reason"]) for one in told} == denied
    body = {"paths": [str(tree / "secret")]}
    assert plain.request("POST", "/files/transfer/download", body=body).status_code == 403
    query: Json = {"dest": str(tree / "closed")}
    plain.failure("POST", "/files/transfer/upload", 403, query=query, content=answer.content)
    assert os.listdir(tree / "closed") == ["file"]

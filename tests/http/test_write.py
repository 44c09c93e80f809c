"""`POST` and `PUT /files/write`.

Oracles: the file itself, `os.stat`, `hashlib`. Source: wire contract, section 2, "Write".
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests import mounting, trees
from tests.client import Client, Json, b64
from tests.serving import serving
from tests.trees import NO_FILES, etag, mode

WRITE = "/files/write"


def write(client: Client, path: Path | str, content: str = "new", **rest: object) -> Json:
    """A write that must succeed."""
    body = {"path": str(path), "content": content, **rest}
    answer = client.request("POST", WRITE, body=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def refused(client: Client, status: int, path: Path | str, **rest: object) -> Json:
    body = {"path": str(path), "content": "new", **rest}
    return client.failure("POST", WRITE, status, body=body)


CONTENTS = {
    "text": "Hello, world!",
    "empty": "",
    "unicode": "żółć \U0001f600\u2028 line\r\n",
    "nul": "a\0b",
    "long": "x" * 3_000_000,
}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("name", CONTENTS)
def test_the_content_is_in_the_file(client: Client, tree: Path, method: str, name: str) -> None:
    path, content = tree / "file", CONTENTS[name].encode()
    body = {"path": str(path), "content": CONTENTS[name]}
    for _ in ("made", "replaced"):
        answer = client.request(method, WRITE, body=body)
        assert answer.status_code == 201
        assert path.read_bytes() == content
        assert answer.json() == {
            "success": True,
            "path": str(path),
            "size": len(content),
            "hash": hashlib.sha256(content).hexdigest(),
            "etag": etag(path),
        }
        assert answer.headers["etag"] == etag(path)
    assert os.listdir(tree) == ["file"]


@pytest.mark.parametrize("content", [b"", b"\x00\xff", bytes(range(256)) * 100])
def test_bytes_come_in_base64(client: Client, tree: Path, content: bytes) -> None:
    for encode in (base64.b64encode, base64.encodebytes, base64.urlsafe_b64encode):
        told = write(client, tree / "file", encode(content).decode(), encoding="base64")
        assert (tree / "file").read_bytes() == content
        assert told["size"] == len(content)


@pytest.mark.parametrize("content", ["a", "ab=c", "&&&&", "YWJ", "żółć", "YWJj=", "YWJj===="])
def test_what_is_not_base64_is_400(client: Client, tree: Path, content: str) -> None:
    told = refused(client, 400, tree / "file", content=content, encoding="base64")
    assert "content" in told["error"]
    assert os.listdir(tree) == []


BAD_BODIES: dict[str, Json] = {
    "content": {"content": None},
    "encoding": {"encoding": "latin-1"},
    "append": {"append": "yes"},
    "create_dirs": {"create_dirs": 1},
    "mode": {"mode": 644},
    "path": {"path": "a"},
    "expected_hash": {"expected_hash": "abc"},
    "path_b64": {"path_b64": "!"},
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_field_is_400_and_named(client: Client, tree: Path, name: str) -> None:
    body = {"path": str(tree / "file"), "content": "new", **BAD_BODIES[name]}
    assert name in client.failure("POST", WRITE, 400, body=body)["error"]
    assert os.listdir(tree) == []


# --- mode and owner --------------------------------------------------------------------------


MODES = {"0644": 0o644, "755": 0o755, "0o600": 0o600, "4755": 0o4755, "0": 0, "7777": 0o7777}


@pytest.mark.parametrize("text", MODES)
def test_the_mode_is_the_one_given(client: Client, tree: Path, text: str) -> None:
    write(client, tree / "new", mode=text)
    (tree / "old").touch(0o640)
    write(client, tree / "old", mode=text)
    assert {mode(tree / "new"), mode(tree / "old")} == {MODES[text]}


@pytest.mark.parametrize(
    "text", ["", "8", "rwx", "00644x", "17777", "-1", "0644 ", "0x1ff", "\u0660"]
)
def test_what_is_no_mode_is_400(client: Client, tree: Path, text: str) -> None:
    assert "mode" in refused(client, 400, tree / "file", mode=text)["error"]
    assert os.listdir(tree) == []


@pytest.mark.parametrize("before", [0o600, 0o444, 0o755, 0o4755, 0o2711, 0o1666])
def test_a_replaced_file_keeps_its_mode(client: Client, tree: Path, before: int) -> None:
    (tree / "file").touch()
    (tree / "file").chmod(before)
    write(client, tree / "file")
    assert mode(tree / "file") == before


def test_the_mask_cuts_nothing(tmp_path: Path) -> None:
    preexec = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        write(client, tmp_path / "a/file", create_dirs=True)
        write(client, tmp_path / "wide", mode="0666")
    assert mode(tmp_path / "a") == 0o755
    assert mode(tmp_path / "a/file") == 0o644
    assert mode(tmp_path / "wide") == 0o666


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(client: Client, tree: Path) -> None:
    (tree / "file").touch()
    os.chown(tree / "file", 1234, 2345)
    (tree / "file").chmod(0o6755)
    write(client, tree / "file")
    told = (tree / "file").stat()
    assert (told.st_uid, told.st_gid, mode(tree / "file")) == (1234, 2345, 0o6755)


def test_a_replaced_file_keeps_attributes_and_acl(client: Client, tree: Path) -> None:
    path = tree / "file"
    path.touch(0o640)
    # user::rw- user:1234:r-- group::r-- mask::rw- other::---, as the kernel stores it.
    entries = [(1, 6, -1), (2, 4, 1234), (4, 4, -1), (16, 6, -1), (32, 0, -1)]
    packed = b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (who % 2**32).to_bytes(4, "little")
        for tag, bits, who in entries
    )
    os.setxattr(path, "user.origin", b"somewhere")
    os.setxattr(path, "system.posix_acl_access", packed)
    before = mode(path)
    write(client, path)
    assert os.getxattr(path, "user.origin") == b"somewhere"
    assert os.getxattr(path, "system.posix_acl_access") == packed
    assert mode(path) == before


# --- atomic ----------------------------------------------------------------------------------


def test_who_reads_meanwhile_sees_the_old_or_the_new(client: Client, tree: Path) -> None:
    path = tree / "file"
    contents = ["a" * 300_000, "b" * 200_000]
    write(client, path, contents[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for index in range(30):
        write(client, path, contents[index % 2])
    done.set()
    reader.join()
    assert seen <= {one.encode() for one in contents}


def test_an_open_file_stays_what_it_was(client: Client, tree: Path) -> None:
    (tree / "file").write_text("old")
    os.link(tree / "file", tree / "other name")
    with (tree / "file").open() as old:
        write(client, tree / "file", "new")
        assert old.read() == "old"
    assert (tree / "other name").read_text() == "old"


# --- symlinks --------------------------------------------------------------------------------


# Symlinks to make, and where each points; all lead from `link` to `real/file`.
LINKS: dict[str, dict[str, str]] = {
    "relative": {"link": "real/file"},
    "absolute": {"link": "{tree}/real/file"},
    "chain": {"link": "real/next", "real/next": "../real/file"},
    "through a directory": {"dir": "real", "link": "dir/file"},
}


@pytest.mark.parametrize("is_there", [True, False], ids=["target there", "dangling"])
@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("append", [False, True])
def test_a_symlink_stays_and_its_target_is_written(
    client: Client, tree: Path, name: str, is_there: bool, append: bool
) -> None:
    (tree / "real").mkdir()
    if is_there:
        (tree / "real/file").write_text("old ")
    for link, leads_to in LINKS[name].items():
        (tree / link).symlink_to(leads_to.format(tree=tree))
    write(client, tree / "link", "new", append=append)
    assert (tree / "link").is_symlink()
    assert not (tree / "real/file").is_symlink()
    assert (tree / "real/file").read_text() == ("old new" if append and is_there else "new")


NO_TARGETS = {
    "loop": ("link", 400),
    "directory": ("real", 400),
    "up": ("..", 400),
    "slash": ("nothing/", 400),
    "lost": ("no/thing", 404),
}


@pytest.mark.parametrize("name", NO_TARGETS)
def test_a_symlink_that_leads_to_no_file(client: Client, tree: Path, name: str) -> None:
    target, status = NO_TARGETS[name]
    (tree / "real").mkdir()
    (tree / "link").symlink_to(target)
    for options in ({}, {"append": True}, {"create_dirs": True}):
        assert str(tree / "link") in refused(client, status, tree / "link", **options)["error"] or (
            status == 404
        )
    assert sorted(os.listdir(tree)) == ["link", "real"]


# --- append ----------------------------------------------------------------------------------


def test_append_adds_at_the_end(client: Client, tree: Path) -> None:
    path = tree / "log"
    assert write(client, path, "one\n", append=True, mode="0600")["size"] == 4
    inode = path.stat().st_ino
    told = write(client, path, "two\n", append=True)
    assert (told["size"], told["etag"], "hash" in told) == (8, etag(path), False)
    assert write(client, path, "/wAA", append=True, encoding="base64")["size"] == 11
    assert path.read_bytes() == b"one\ntwo\n\xff\x00\x00"
    assert (path.stat().st_ino, mode(path)) == (inode, 0o600)
    write(client, path, "", append=True, mode="0640")
    assert (path.stat().st_size, mode(path)) == (11, 0o640)


def test_appends_at_once_are_all_there_and_whole(client: Client, tree: Path) -> None:
    path = tree / "log"
    lines = [f"{name}{index}".ljust(3000, ".") + "\n" for name in "abcdefgh" for index in range(8)]

    def add(mine: list[str]) -> None:
        for line in mine:
            write(client, path, line, append=True)

    threads = [threading.Thread(target=add, args=[lines[n::8]]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_text().splitlines(keepends=True)) == sorted(lines)


# --- parents and what is in the way ----------------------------------------------------------


def test_a_missing_parent_is_404_and_says_the_way_out(client: Client, tree: Path) -> None:
    told = refused(client, 404, tree / "a/b/file")
    assert "create_dirs" in told["error"]
    assert str(tree / "a/b") in told["error"]
    assert os.listdir(tree) == []


def test_create_dirs_makes_parents(client: Client, tree: Path) -> None:
    (tree / "link").symlink_to("real")
    (tree / "real").mkdir()
    write(client, tree / "link/a/b/file", "x", create_dirs=True)
    assert (tree / "real/a/b/file").read_text() == "x"
    assert (mode(tree / "real/a"), mode(tree / "real/a/b")) == (0o755, 0o755)
    write(client, tree / "link/a/b/log", "x", create_dirs=True, append=True)


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_400_at_once(client: Client, tree: Path, name: str) -> None:
    NO_FILES[name](tree / "thing")
    before = (tree / "thing").lstat()
    for options in ({}, {"append": True}, {"create_dirs": True}):
        told = refused(client, 400, tree / "thing", **options)
        assert str(tree / "thing") in told["error"]
    assert (tree / "thing").lstat() == before
    assert os.listdir(tree) == ["thing"]


def test_a_file_as_a_parent_is_400(client: Client, tree: Path) -> None:
    (tree / "file").write_text("old")
    for options in ({}, {"create_dirs": True}):
        refused(client, 400, tree / "file/below", **options)
        refused(client, 400, tree / "file/far/below", **options)
    assert (tree / "file").read_text() == "old"


def test_the_root_is_400(client: Client) -> None:
    assert "is a directory" in refused(client, 400, "/")["error"]


def test_a_dirty_spelling_is_normalised(client: Client, tree: Path) -> None:
    told = write(client, f"{tree}//x/../file/.", "x")
    assert told["path"] == str(tree / "file")


# --- limits ----------------------------------------------------------------------------------


def test_names_may_be_as_long_as_the_system_takes(client: Client, tree: Path) -> None:
    write(client, tree / ("n" * 255))
    assert "too long" in refused(client, 400, tree / ("n" * 256))["error"]
    deep = "/".join(["d" * 200] * 25)
    assert "too long" in refused(client, 400, tree / deep / "file", create_dirs=True)["error"]
    assert os.listdir(tree) == ["n" * 255]


def test_content_over_the_limit_is_413_and_names_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with serving(tmp_path / "server", "--content-bytes=999") as target, target.client() as client:
        write(client, path, "x" * 999)
        over = base64.b64encode(b"x" * 1000).decode()
        for options in ({"content": "ż" * 500}, {"content": over, "encoding": "base64"}):
            told = refused(client, 413, path, **options)
            assert "/files/raw" in told["error"]
            assert "999" in told["error"]
    assert path.read_text() == "x" * 999


@mounting.needs_mounts
def test_a_full_disk_is_507_and_changes_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    preexec = mounting.inside(mounting.tmpfs(disk, "1m"))
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        seen = mounting.seen_by(target.pid, disk)
        write(client, disk / "file", "old")
        big = "x" * 2_000_000
        for options in ({}, {"append": True}):
            told = refused(client, 507, disk / "file", content=big, **options)
            assert told["code"] == "insufficient_storage"
            refused(client, 507, disk / "new", content=big, **options)
        query = {"path": disk / "file"}
        # A client of its own: the server may close where too much of a body was left.
        with target.client() as other:
            other.failure("PUT", "/files/raw", 507, query=query, content=big.encode())
        assert (seen / "file").read_text() == "old"
        assert os.listdir(seen) == ["file"]
        write(client, disk / "file", "x" * 400_000)


@mounting.needs_mounts
def test_a_mount_point_is_written_in_place_and_said_so(tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    source.write_text("old content")
    source.chmod(0o640)
    place.touch()
    preexec = mounting.inside(mounting.bind(source, place))
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        inode = source.stat().st_ino
        told = write(client, place, "new")
        assert (told["atomic"], told["size"]) == (False, 3)
        assert told["hash"] == trees.sha256(source)
        assert source.read_text() == "new"
        assert told["etag"] == etag(source)
        write(client, place, " and more", append=True)
        query = {"path": place, "mode": "0600"}
        answer = client.request("PUT", "/files/raw", query=query, content=b"z" * 700_000)
        assert (answer.status_code, answer.json()["atomic"]) == (201, False)
        assert source.read_bytes() == b"z" * 700_000
        assert (source.stat().st_ino, mode(source)) == (inode, 0o600)
    assert sorted(os.listdir(tmp_path)) == ["place", "server", "source"]


@mounting.needs_mounts
def test_a_full_disk_below_a_mount_point_changes_nothing(tmp_path: Path) -> None:
    disk, place = tmp_path / "disk", tmp_path / "place"
    disk.mkdir()
    place.touch()
    preexec = mounting.inside(
        mounting.tmpfs(disk, "1m"),
        f"printf old > {disk}/file",
        mounting.bind(disk / "file", place),
    )
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        refused(client, 507, place, content="x" * 2_000_000)
        assert mounting.seen_by(target.pid, place).read_text() == "old"


def test_a_variable_of_the_kernel_is_written_in_place(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as target, target.client() as client:
        path = Path(f"/proc/{target.pid}/comm")
        told = write(client, path, "renamed")
        assert (told["atomic"], "hash" in told) == (False, False)
        assert path.read_text() == "renamed\n"


# --- names -----------------------------------------------------------------------------------


NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES, content=st.binary(max_size=50))
@example(name=b"\xff" * 255, content=b"x")
@example(name=b"line\nbreak \xe9", content=b"")
@example(name=b"...", content=b"")
@example(name=b".hutch-0123456789abcdef.tmp", content=b"mine")
@example(name=b"-rf *", content=b"")
def test_every_legal_name_can_be_written_and_deleted(
    client: Client, tree: Path, name: bytes, content: bytes
) -> None:
    path = os.path.join(os.fsencode(tree), name)
    body = {"content": base64.b64encode(content).decode(), "encoding": "base64"}
    answer = client.request("POST", WRITE, body={"path_b64": b64(path), **body})
    assert answer.status_code == 201, answer.text
    assert os.listdir(os.fsencode(tree)) == [name]
    with open(path, "rb") as file:
        assert file.read() == content
    # What the API itself returned leads back to the file.
    told = answer.json()
    named = {one: told[one] for one in ("path", "path_b64") if one in told}
    assert client.request("DELETE", "/files/delete", body=named).status_code == 200
    assert os.listdir(tree) == []

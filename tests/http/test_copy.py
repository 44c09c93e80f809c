"""`POST /files/copy` and `POST /files/move`.

Oracles: `cp -a`, and what `os.lstat` says of every entry. For two file systems a server has a
tmpfs mounted in a namespace of its own.
Source: wire contract, section 2, in the voice of "Write" and "Delete".
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import mounting, trees
from tests.client import Client, Json, b64
from tests.serving import Target, serving
from tests.trees import build
from tests.watching import held, wait_until

from hutch import _native

COPY, MOVE = "/files/copy", "/files/move"
BOTH = pytest.mark.parametrize("what", [COPY, MOVE])
STATUS = {COPY: 201, MOVE: 200}

Facts = tuple[object, ...]


def done(client: Client, what: str, source: object, destination: object, **more: object) -> Json:
    """A copy or a move that must succeed."""
    body = {"source": str(source), "destination": str(destination), **more}
    answer = client.request("POST", what, body=body)
    assert answer.status_code == STATUS[what], answer.text
    return dict(answer.json())


def refused(
    client: Client, what: str, status: int, source: object, destination: object, **more: object
) -> Json:
    body = {"source": str(source), "destination": str(destination), **more}
    return client.failure("POST", what, status, body=body)


def facts(path: bytes) -> Facts:
    """All that a copy should keep of one entry."""
    told = os.lstat(path)
    kind = stat.S_IFMT(told.st_mode)
    kept: Facts = (kind, stat.S_IMODE(told.st_mode), told.st_uid, told.st_gid)
    if stat.S_ISLNK(told.st_mode):
        return (*kept, told.st_mtime_ns, os.readlink(path))
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path)
    }
    if stat.S_ISREG(told.st_mode):
        return (*kept, told.st_mtime_ns, attributes, trees.sha256(path))
    return (*kept, told.st_mtime_ns, attributes)


def tree_of(top: Path) -> dict[bytes, Facts]:
    """Everything at and below a path, by its path below it."""
    root = os.fsencode(top)
    found = {b"": facts(root)}
    if top.is_dir() and not top.is_symlink():
        found |= {path[len(root) + 1 :]: facts(path) for path in trees.everything(top)}
    return found


def furnish(top: Path) -> Path:
    """A tree with something of every kind that a copy keeps."""
    build(top, {"a/b/deep": "x" * 5000, "a/empty": "", "c": b"\0\xff" * 3, "e/": None})
    (top / "a/link").symlink_to("b/deep")
    (top / "dangling").symlink_to("/nothing/is/here")
    (top / "to-dir").symlink_to("a")
    (top / "c").chmod(0o4751)
    (top / "a/b").chmod(0o500)
    (top / "e").chmod(0o1777)
    os.setxattr(top / "c", "user.note", b"kept")
    os.setxattr(top / "a", "user.note", b"kept too")
    os.chown(top / "a/empty", 1234, 2345)
    os.makedirs(os.fsencode(top) + b"/\xff\n")
    with (top / "sparse").open("wb") as file:
        file.seek(8 * 2**20)
        file.write(b"end")
    for index, one in enumerate(sorted(trees.everything(top), key=len, reverse=True)):
        os.utime(one, ns=(10**18 + index, 10**18 + index * 10**9 + 7), follow_symlinks=False)
    return top


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


# --- what arrives ----------------------------------------------------------------------------


@needs_root
@BOTH
def test_a_tree_arrives_whole(client: Client, tree: Path, what: str) -> None:
    top = furnish(tree / "top")
    subprocess.run(["cp", "-a", top, tree / "oracle"], check=True)
    wanted = tree_of(top)
    answer = done(client, what, top, tree / "new")
    assert tree_of(tree / "new") == wanted == tree_of(tree / "oracle")
    assert top.exists() == (what == COPY)
    assert (answer["source"], answer["destination"]) == (str(top), str(tree / "new"))
    if what == COPY:
        assert answer["copied"] == len(wanted)
        assert answer["skipped"] == []
        regular = [one for one in wanted.values() if one[0] == stat.S_IFREG]
        assert len(regular) == 4
        blocks = [(tree / name / "sparse").stat().st_blocks for name in ("top", "new")]
        assert blocks[1] <= blocks[0] + 16
    else:
        assert "atomic" not in answer


@BOTH
def test_one_file_and_one_link(client: Client, tree: Path, what: str) -> None:
    build(tree, {"file": "x", "dir/": None})
    (tree / "link").symlink_to("dir")
    wanted = facts(os.fsencode(tree / "file"))
    done(client, what, tree / "file", tree / "dir/new")
    assert facts(os.fsencode(tree / "dir/new")) == wanted
    done(client, what, f"{tree}/link/", f"{tree}/./x/../other//")
    assert os.readlink(tree / "other") == "dir"
    assert sorted(os.listdir(tree)) == sorted(
        ["dir", "other", *(["file", "link"] if what == COPY else [])]
    )


@BOTH
def test_both_names_of_each_parameter(client: Client, tree: Path, what: str) -> None:
    (tree / "a").write_text("x")
    answer = client.request("POST", what, body={"from": f"{tree}/a", "to": f"{tree}/b"})
    assert answer.status_code == STATUS[what]
    odd = os.fsencode(tree) + b"/\xff"
    body = {"from": f"{tree}/b", "destination_b64": b64(odd)}
    answer = client.request("POST", what, body=body)
    assert answer.json()["destination_b64"] == b64(odd)
    body = {"source_b64": b64(odd), "to": f"{tree}/c"}
    assert client.request("POST", what, body=body).json()["source_b64"] == b64(odd)
    assert (tree / "c").read_text() == "x"
    # The documented name counts before the other one.
    body = {"source": f"{tree}/c", "from": "/nothing", "to": f"{tree}/d"}
    assert client.request("POST", what, body=body).status_code == STATUS[what]


@BOTH
def test_what_is_missing_is_named(client: Client, tree: Path, what: str) -> None:
    for body, name in (
        ({}, "source"),
        ({"to": f"{tree}/b"}, "source"),
        ({"from": f"{tree}/a"}, "destination"),
        ({"source": None, "destination": f"{tree}/b"}, "source"),
    ):
        told = client.failure("POST", what, 400, body=body)
        assert told["error"].startswith(f"{name}: missing")
    for name in ("source", "from", "destination", "to"):
        good = {"source": f"{tree}/a", "destination": f"{tree}/b"}
        bad: tuple[object, ...] = ("a/b", "~", "", "/a\0b", 5, [])
        for wrong in bad:
            told = client.failure("POST", what, 400, body={**good, name: wrong})
            assert name in told["error"]


@BOTH
def test_what_is_not_there(client: Client, tree: Path, what: str) -> None:
    (tree / "file").touch()
    assert f"{tree}/a" in refused(client, what, 404, tree / "a", tree / "b")["error"]
    refused(client, what, 404, tree / "a/b", tree / "b")
    refused(client, what, 400, tree / "file/a", tree / "b")
    refused(client, what, 400, tree / "file", tree / "file/b")
    refused(client, what, 400, tree / "file", tree / ("n" * 256))
    told = refused(client, what, 404, tree / "file", tree / "no/way")
    assert "create_dirs" in told["error"]
    # Nothing is made for what cannot be.
    refused(client, what, 404, tree / "a", tree / "no/way", create_dirs=True)
    assert os.listdir(tree) == ["file"]
    done(client, what, tree / "file", tree / "no/way", create_dirs=True)
    assert (tree / "no/way").is_file()


# --- what is there already -------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("there", ["file", "dir", "link", "dangling", "fifo"])
def test_what_is_there_stays_unless_asked(
    client: Client, tree: Path, what: str, there: str
) -> None:
    build(tree, {"source": "new", "outside": "precious", "file": "old"})
    (tree / "dir").mkdir()
    (tree / "link").symlink_to("outside")
    (tree / "dangling").symlink_to("nothing")
    os.mkfifo(tree / "fifo")
    before = tree_of(tree)
    told = refused(client, what, 409, tree / "source", tree / there)
    assert told["code"] == "conflict"
    assert "overwrite" in told["error"]
    assert tree_of(tree) == before
    if there == "dir":
        refused(client, what, 409, tree / "source", tree / there, overwrite=True)
        assert tree_of(tree) == before
        return
    done(client, what, tree / "source", tree / there, overwrite=True)
    assert (tree / there).read_text() == "new"
    assert not (tree / there).is_symlink()
    # Nothing went through the link.
    assert (tree / "outside").read_text() == "precious"
    assert not list(tree.glob(".hutch-*"))


@BOTH
def test_a_directory_onto_what_is_there(client: Client, tree: Path, what: str) -> None:
    build(tree, {"source/a/new": "new", "full/a/old": "old", "file": "x", "empty/": None})
    (tree / "link").symlink_to("full")
    before = tree_of(tree)
    for there in ("full", "file", "empty", "link"):
        refused(client, what, 409, tree / "source", tree / there)
    for there in ("file", "link"):
        refused(client, what, 409, tree / "source", tree / there, overwrite=True)
    if what == MOVE:
        told = refused(client, what, 409, tree / "source", tree / "full", overwrite=True)
        assert "not empty" in told["error"]
    assert tree_of(tree) == before
    done(client, what, tree / "source", tree / "empty", overwrite=True)
    assert (tree / "empty/a/new").read_text() == "new"


def test_a_directory_takes_in_a_copy(client: Client, tree: Path) -> None:
    build(tree, {"source/a/b": "new", "source/c": "new", "source/d": "new"})
    build(tree, {"there/a/b": "old", "there/a/kept": "old", "there/e": "old", "there/d/x": "old"})
    (tree / "there/c").symlink_to("e")
    (tree / "source/l").symlink_to("new")
    (tree / "there/l").symlink_to("old")
    (tree / "there/a").chmod(0o711)
    told = refused(client, COPY, 409, tree / "source", tree / "there", overwrite=True)
    # A file does not replace a directory; all others are copied, and that is said.
    assert [one["path"] for one in told["errors"]] == [str(tree / "there/d")]
    assert told["copied"] == 5
    there = tree / "there"
    assert ((there / "a/b").read_text(), (there / "a/kept").read_text()) == ("new", "old")
    assert ((there / "c").read_text(), (there / "e").read_text()) == ("new", "old")
    assert not (there / "c").is_symlink()
    assert os.readlink(there / "l") == "new"
    assert (there / "d/x").read_text() == "old"
    assert trees.mode(there / "a") == 0o711
    assert not list(there.rglob(".hutch-*"))


@BOTH
def test_into_itself_and_onto_itself(client: Client, tree: Path, what: str) -> None:
    build(tree, {"dir/inner/file": "x", "file": "x"})
    (tree / "way").symlink_to("dir/inner")
    before = tree_of(tree)
    for destination in (
        tree / "dir/new",
        tree / "dir/inner/new",
        tree / "dir/no/way/in",
        tree / "way/new",
        # No directory is made there before it is refused.
        tree / "way/no/way/in",
        f"/proc/self/root{tree}/dir/no/way/in",
        f"/proc/self/root{tree}/dir/new",
    ):
        told = refused(client, what, 400, tree / "dir", destination, create_dirs=True)
        assert "in the source" in told["error"], destination
    for same in (tree / "dir", f"{tree}/way/../dir", f"/proc/self/root{tree}/dir"):
        refused(client, what, 400, tree / "dir", same, overwrite=True)
    refused(client, what, 400, tree / "file", tree / "file", overwrite=True)
    # What holds the source is not replaced by it.
    refused(client, what, 409, tree / "dir/inner", tree / "dir", overwrite=True)
    refused(client, what, 409, tree / "dir/inner/file", tree / "dir", overwrite=True)
    assert tree_of(tree) == before


def test_two_names_of_one_file(client: Client, tree: Path) -> None:
    (tree / "a").write_text("x")
    os.link(tree / "a", tree / "b")
    refused(client, COPY, 400, tree / "a", tree / "b", overwrite=True)
    # The system's own call would do nothing, and call it done.
    done(client, MOVE, tree / "a", tree / "b", overwrite=True)
    assert os.listdir(tree) == ["b"]


def test_what_is_no_file_is_left_out_and_named(client: Client, tree: Path) -> None:
    top = build(tree / "top", {"a/file": "x"})
    trees.make_fifo(top / "a/fifo")
    trees.make_socket(top / "socket")
    answer = done(client, COPY, top, tree / "new")
    assert sorted((one["path"], one["reason"]) for one in answer["skipped"]) == [
        (str(top / "a/fifo"), "fifo"),
        (str(top / "socket"), "socket"),
    ]
    assert sorted(trees.everything(tree / "new")) == [
        os.fsencode(tree / "new/a"),
        os.fsencode(tree / "new/a/file"),
    ]
    refused(client, COPY, 400, top / "socket", tree / "other")
    refused(client, COPY, 400, "/dev/null", tree / "other")
    # A move within one file system takes everything along.
    done(client, MOVE, top, tree / "moved")
    assert stat.S_ISFIFO((tree / "moved/a/fifo").stat().st_mode)


def test_the_kernels_files_are_copied_by_what_they_hold(client: Client, tree: Path) -> None:
    done(client, COPY, "/proc/version", tree / "version")
    assert (tree / "version").read_bytes() == Path("/proc/version").read_bytes()


@BOTH
def test_what_cannot_be_read_is_named_and_not_the_copy(
    target: Target, client: Client, tree: Path, what: str
) -> None:
    # Nothing is mapped at its first byte.
    unreadable = f"/proc/{target.pid}/mem"
    (told,) = refused(client, what, 409, unreadable, tree / "new")["errors"]
    assert told["path"] == unreadable
    assert os.listdir(tree) == []


# --- what is protected, and on which state ------------------------------------------------------


@BOTH
def test_what_is_protected_is_not_replaced(target: Target, tree: Path, what: str) -> None:
    with target.client() as client:
        (tree / "up").symlink_to("/")
        build(tree, {"file": "x", "dir/x": "x"})
        for path in ("/proc", "/sys", "/", target.state_dir, target.state_dir.parent):
            for spelling in (str(path), f"{tree}/up{path}/.", f"/proc/self/root{path}"):
                if path == "/" and spelling != "/":
                    continue
                told = refused(client, what, 403, tree / "dir", spelling, overwrite=True)
                assert "protected" in told["error"]
        assert sorted(os.listdir(tree)) == ["dir", "file", "up"]


def test_what_is_protected_is_not_moved(target: Target, client: Client, tree: Path) -> None:
    (tree / "up").symlink_to("/")
    for path in ("/proc", "/sys", target.state_dir, target.state_dir.parent):
        for spelling in (str(path), f"{tree}/up{path}", f"/proc/self/root{path}", f"{path}/x/.."):
            told = refused(client, MOVE, 403, spelling, tree / "new")
            assert str(path) in told["error"]
            # The end that is at fault, and not the other one.
            assert f"{tree}/new" not in told["error"]
    assert os.listdir(tree) == ["up"]


@BOTH
def test_conditions_are_held_against_the_source(client: Client, tree: Path, what: str) -> None:
    (tree / "a").write_text("x")
    right, tag = hashlib.sha256(b"x").hexdigest(), trees.etag(tree / "a")
    told = refused(client, what, 412, tree / "a", tree / "b", expected_hash="0" * 64)
    assert told["hash"] == right
    body = {"source": f"{tree}/a", "destination": f"{tree}/b"}
    headers = {"If-Match": '"nothing"'}
    assert client.failure("POST", what, 412, body=body, headers=headers)["hash"] == right
    # Nor is a directory made for what is refused then.
    more = {"expected_hash": "0" * 64, "create_dirs": True}
    refused(client, what, 412, tree / "a", tree / "new/b", **more)
    assert os.listdir(tree) == ["a"]
    headers = {"If-Match": tag}
    answer = client.request("POST", what, body={**body, "expected_hash": right}, headers=headers)
    assert answer.status_code == STATUS[what], answer.text


@BOTH
def test_if_none_match_is_held_against_the_destination(
    client: Client, tree: Path, what: str
) -> None:
    build(tree, {"a": "x", "b": "old"})
    body = {"source": f"{tree}/a", "destination": f"{tree}/b", "overwrite": True}
    headers = {"If-None-Match": "*"}
    told = client.failure("POST", what, 412, body=body, headers=headers)
    assert told["hash"] == hashlib.sha256(b"old").hexdigest()
    body["destination"] = f"{tree}/c"
    answer = client.request("POST", what, body=body, headers=headers)
    assert answer.status_code == STATUS[what]


def test_of_many_at_once_one_wins(client: Client, target: Target, tree: Path) -> None:
    build(tree, {f"{index}": str(index) for index in range(8)})
    found: list[int] = []

    def run(index: int) -> None:
        with target.client() as own:
            body = {"source": f"{tree}/{index}", "destination": f"{tree}/new"}
            found.append(own.request("POST", MOVE if index % 2 else COPY, body=body).status_code)

    threads = [threading.Thread(target=run, args=[index]) for index in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(found)[1:] == [409] * 7
    assert sorted(found)[0] in (200, 201)


# --- large, deep, and cut ------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Path]:
    """An empty directory in memory, where it can be."""
    shared = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None))
    yield place
    trees.remove_deep(place)


def test_thousands_of_levels(target: Target, client: Client, memory: Path) -> None:
    trees.make_deep(memory, 3000)
    assert done(client, COPY, memory / "d", memory / "new")["copied"] == 3000
    found = subprocess.run(
        ["find", memory / "new", "-depth", "-mindepth", "2999"], check=True, capture_output=True
    )
    assert found.stdout.count(b"\n") == 1
    assert held(target.pid, memory) == []


def test_thousands_of_files(client: Client, memory: Path) -> None:
    top = build(memory / "top", {f"{index % 7}/{index:050}": str(index) for index in range(4000)})
    assert done(client, COPY, top, memory / "new")["copied"] == 4008
    assert tree_of(memory / "new") == tree_of(top)


def leave(target: Target, what: str, source: Path, destination: Path) -> socket.socket:
    body = f'{{"source":"{source}","destination":"{destination}"}}'
    one = socket.create_connection(("127.0.0.1", target.port))
    one.sendall(
        f"POST {what} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {target.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return one


def test_a_client_that_leaves_ends_the_copy(target: Target, memory: Path) -> None:
    top = memory / "top"
    for index in range(150):
        (top / str(index)).mkdir(parents=True)
        (top / str(index) / "file").write_text("x")
        for inner in range(400):
            os.link(top / str(index) / "file", top / str(index) / str(inner))
    new = memory / "new"
    with leave(target, COPY, top, new):
        wait_until(lambda: new.exists() and len(os.listdir(new)) > 2)
    wait_until(lambda: not held(target.pid, top) and not held(target.pid, new))
    assert len(os.listdir(new)) < 150
    # Whatever is there is whole.
    for path in new.rglob("*"):
        assert path.is_dir() or path.read_text() == "x"
        assert not path.name.startswith(".hutch-")


def test_a_deadline_is_504_with_what_was_done(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {f"{index}/file": "" for index in range(100)})
    with serving(tmp_path / "server", "--copy-seconds=1e-9") as target, target.client() as client:
        told = refused(client, COPY, 504, top, tmp_path / "new")
    assert (told["code"], told["errors"]) == ("timeout", [])
    assert told["copied"] == len(trees.everything(tmp_path / "new")) + 1


def swap(top: Path, outside: Path, ended: threading.Event) -> None:
    """Puts a link in the place of a directory and back, as fast as it can."""
    while not ended.is_set():
        for name in ("a", "b"):
            with suppress(OSError):
                os.rename(top / name, top / f"{name}.moved")
                os.symlink(outside, top / name)
            with suppress(OSError):
                os.unlink(top / name)
            with suppress(OSError):
                os.rename(top / f"{name}.moved", top / name)


def test_what_is_swapped_for_a_link_is_not_followed(memory: Path) -> None:
    """In the source nothing is read through it, in the destination nothing written."""
    outside = build(memory / "outside", {"0/precious": "x"})
    before = tree_of(outside)
    spec = {f"{name}/{index}/file": "new" for name in "ab" for index in range(20)}
    pending = _native.Pending(os.fsencode(memory / "pending"))
    disturbed = 0
    for swapped in ("top", "there") * 20:
        build(memory / "top", spec)
        build(memory / "there", dict.fromkeys(spec, "old"))
        ended = threading.Event()
        swapper = threading.Thread(target=swap, args=[memory / swapped, outside, ended])
        swapper.start()
        account = _native.copy(
            _native.locate(os.fsencode(memory / "top"), follow=False),
            _native.locate(os.fsencode(memory / "there"), follow=False),
            _native.Guard([]),
            pending,
            _native.Stop(),
            overwrite=True,
            seconds=10,
        )
        ended.set()
        swapper.join()
        disturbed += account.failures > 0 or account.entries != len(spec) * 2 + 3
        assert not list((memory / "there").rglob("precious"))
        shutil.rmtree(memory / "top")
        shutil.rmtree(memory / "there")
    assert tree_of(outside) == before
    # The race was run.
    assert disturbed > 0


# --- trees that nobody would make ----------------------------------------------------------------

NAME = st.binary(min_size=1, max_size=6).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
LEAF = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=200), st.integers(0, 0o7777)),
    st.tuples(st.just("link"), st.sampled_from([b".", b"..", b"/etc", b"x", b"\xff"]), st.just(0)),
)
NODES: st.SearchStrategy[object] = st.recursive(
    LEAF, lambda inner: st.dictionaries(NAME, inner, max_size=4), max_leaves=12
)


def plant(path: bytes, node: object) -> None:
    if isinstance(node, dict):
        os.mkdir(path)
        for name, inner in node.items():
            plant(path + b"/" + name, inner)
        return
    assert isinstance(node, tuple)
    kind, content, mode = node
    if kind == "link":
        os.symlink(content, path)
        return
    Path(os.fsdecode(path)).write_bytes(content)
    os.chmod(path, mode)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(node=NODES)
def test_any_tree_arrives_as_it_was(node: object) -> None:
    shared = Path("/dev/shm")
    base = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as made:
        place = Path(made)
        plant(os.fsencode(place / "top"), node)
        wanted = tree_of(place / "top")
        pending = _native.Pending(os.fsencode(place / "pending"))
        for work, source, destination in (
            (_native.copy, "top", "copy"),
            (_native.relocate, "copy", "moved"),
        ):
            account = work(
                _native.locate(os.fsencode(place / source), follow=False),
                _native.locate(os.fsencode(place / destination), follow=False),
                _native.Guard([]),
                pending,
                _native.Stop(),
                overwrite=False,
                seconds=10,
            )
            assert (account.failures, account.left_out, account.cut) == (0, 0, None)
        assert tree_of(place / "moved") == wanted == tree_of(place / "top")
        assert sorted(os.listdir(place)) == ["moved", "pending", "top"]


# --- two file systems ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def across(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path, Path]]:
    """A server with a tmpfs of its own: the client, a directory on disk, and the tmpfs as the
    test sees it. The server knows both by the paths on disk.
    """
    place = tmp_path_factory.mktemp("across").resolve()
    (place / "far").mkdir()
    (place / "near").mkdir()
    preexec = mounting.inside(mounting.tmpfs(place / "far", "8m"))
    with serving(place / "server", preexec=preexec) as target, target.client() as client:
        yield client, place, mounting.seen_by(target.pid, place / "far")


@mounting.needs_mounts
@pytest.mark.parametrize("way", ["out", "back"])
def test_a_move_to_another_file_system(across: tuple[Client, Path, Path], way: str) -> None:
    client, place, seen = across
    ends = {"near": place / "near/top", "far": place / "far/top"}
    sights = {"near": place / "near/top", "far": seen / "top"}
    source, destination = ("near", "far") if way == "out" else ("far", "near")
    furnish(sights[source])
    wanted = tree_of(sights[source])
    answer = done(client, MOVE, ends[source], ends[destination])
    assert (answer["atomic"], answer["copied"]) == (False, len(wanted))
    assert tree_of(sights[destination]) == wanted
    assert not sights[source].exists()
    shutil.rmtree(sights[destination])


@mounting.needs_mounts
def test_across_file_systems_the_rules_are_the_same(across: tuple[Client, Path, Path]) -> None:
    client, place, seen = across
    build(place / "near", {"dir/a": "new", "file": "new"})
    build(seen, {"full/b": "old", "file": "old", "empty/": None})
    near, far = place / "near", place / "far"
    before = tree_of(near), tree_of(seen)
    for there in ("full", "file", "empty"):
        refused(client, MOVE, 409, near / "dir", far / there)
    refused(client, MOVE, 409, near / "dir", far / "full", overwrite=True)
    refused(client, MOVE, 409, near / "dir", far / "file", overwrite=True)
    refused(client, MOVE, 409, near / "file", far / "empty", overwrite=True)
    told = refused(client, MOVE, 409, far, near / "new")
    assert [one["path"] for one in told["mounts"]] == [str(far)]
    refused(client, MOVE, 409, near / "dir", far, overwrite=True)
    assert (tree_of(near), tree_of(seen)) == before
    done(client, MOVE, near / "dir", far / "empty", overwrite=True)
    done(client, MOVE, near / "file", far / "file", overwrite=True)
    assert (seen / "empty/a").read_text() == (seen / "file").read_text() == "new"
    assert os.listdir(near) == []
    for one in ("full", "empty"):
        shutil.rmtree(seen / one)
    (seen / "file").unlink()


@mounting.needs_mounts
def test_what_cannot_come_along_keeps_the_source(across: tuple[Client, Path, Path]) -> None:
    client, place, seen = across
    top = build(place / "near/top", {"a/file": "x"})
    trees.make_fifo(top / "a/fifo")
    before = tree_of(top)
    told = refused(client, MOVE, 409, top, place / "far/top")
    assert [one["reason"] for one in told["skipped"]] == ["fifo"]
    assert tree_of(top) == before
    told = refused(client, MOVE, 400, top / "a/fifo", place / "far/fifo")
    assert "not a file" in told["error"]
    shutil.rmtree(top)
    shutil.rmtree(seen / "top")


@mounting.needs_mounts
@BOTH
def test_a_full_disk_is_507_and_the_source_stays(
    across: tuple[Client, Path, Path], what: str
) -> None:
    client, place, seen = across
    top = build(place / "near/top", {f"{index}": b"x" * 2**20 for index in range(12)})
    before = tree_of(top)
    told = refused(client, what, 507, top, place / "far/top")
    assert told["code"] == "insufficient_storage"
    assert told["copied"] == len(trees.everything(seen / "top")) + 1
    assert tree_of(top) == before
    for path in (seen / "top").iterdir():
        assert path.stat().st_size == 2**20
    shutil.rmtree(seen / "top")
    (seen / "old").write_text("old")
    (top / "large").write_bytes(b"x" * 12 * 2**20)
    refused(client, what, 507, top / "large", place / "far/old", overwrite=True)
    assert (seen / "old").read_text() == "old"
    assert os.listdir(seen) == ["old"]
    (seen / "old").unlink()
    shutil.rmtree(top)


@mounting.needs_mounts
def test_a_copy_goes_into_mounts_but_not_into_the_kernels(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"disk/": None, "proc/": None, "file": "x"})
    preexec = mounting.inside(
        mounting.tmpfs(top / "disk", "1m"),
        mounting.command("sh", "-c", f"echo inside > {top}/disk/file"),
        mounting.command("mount", "-t", "proc", "none", top / "proc"),
    )
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        answer = done(client, COPY, top, tmp_path / "new")
        assert [(one["path"], one["reason"]) for one in answer["skipped"]] == [
            (str(top / "proc"), "pseudo_filesystem")
        ]
        assert (tmp_path / "new/disk/file").read_text() == "inside\n"
        told = refused(client, MOVE, 409, top, tmp_path / "other")
        assert {one["path"] for one in told["mounts"]} == {str(top / "disk"), str(top / "proc")}

"""`DELETE` and `POST /files/delete`.

What is protected is asked of the shared server only for `/proc` and `/sys`, which nobody can
remove; everything else of a server that sees the machine read-only.
Source: wire contract, section 2, "Delete".
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from tests import mounting, trees
from tests.client import Client, Json, b64
from tests.serving import Target, serving
from tests.trees import build, everything
from tests.watching import held, wait_until

from hutch import _native
from hutch.wire.remove import PROTECTED

DELETE = "/files/delete"

Spelling = Callable[[Client, Path | str], httpx2.Response]

SPELLINGS: dict[str, Spelling] = {
    "DELETE query": lambda client, path: client.request("DELETE", DELETE, query={"path": path}),
    "DELETE body": lambda client, path: client.request("DELETE", DELETE, body={"path": str(path)}),
    "POST query": lambda client, path: client.request("POST", DELETE, query={"path": path}),
    "POST body": lambda client, path: client.request("POST", DELETE, body={"path": str(path)}),
}


def delete(client: Client, path: Path | str) -> Json:
    """A removal that must succeed."""
    answer = SPELLINGS["DELETE query"](client, path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(client: Client, status: int, path: Path | str) -> Json:
    return client.failure("DELETE", DELETE, status, query={"path": path})


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_tree_goes_with_everything_in_it(client: Client, tree: Path, spelling: str) -> None:
    top = build(tree / "top", {"a/b/c": "x", "a/d": "", "e/": None, "f": "x"})
    (top / "link").symlink_to("a")
    trees.make_fifo(top / "fifo")
    trees.make_socket(top / "socket")
    (top / "a/b/c").chmod(0)
    (top / "a").chmod(0o500)
    (tree / "beside").touch()
    count = len(everything(top)) + 1
    answer = SPELLINGS[spelling](client, top)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"success": True, "path": str(top), "removed": count}
    assert os.listdir(tree) == ["beside"]


def test_the_body_counts_before_the_query(client: Client, tree: Path) -> None:
    build(tree, {"a": "", "b": ""})
    query: dict[str, object] = {"path": tree / "a"}
    client.request("DELETE", DELETE, query=query, body={"path": str(tree / "b")})
    assert os.listdir(tree) == ["a"]


def test_of_a_link_the_link_goes(client: Client, tree: Path) -> None:
    build(tree, {"dir/file": "x", "file": "x"})
    for name, target in {"one": "dir", "two": "file", "three": "nothing", "four": "/etc"}.items():
        (tree / name).symlink_to(target)
        # A trailing slash does not lead through it either.
        assert delete(client, f"{tree / name}/")["removed"] == 1
    assert sorted(os.listdir(tree)) == ["dir", "file"]
    assert (tree / "dir/file").exists()
    (tree / "up").symlink_to(".")
    delete(client, tree / "up/dir")
    assert sorted(os.listdir(tree)) == ["file", "up"]


def test_what_is_not_there(client: Client, tree: Path) -> None:
    (tree / "file").touch()
    assert str(tree / "a") in refused(client, 404, tree / "a")["error"]
    refused(client, 404, tree / "a/b")
    refused(client, 400, tree / "file/a")
    refused(client, 400, tree / ("n" * 256))
    refused(client, 400, tree / "/".join(["d" * 200] * 25))
    for method in ("DELETE", "POST"):
        assert "path" in client.failure(method, DELETE, 400)["error"]
    assert os.listdir(tree) == ["file"]


@pytest.fixture
def big_tree() -> Iterator[Path]:
    """An empty directory in memory, where it can be: thousands of entries take a disk long."""
    memory = Path("/dev/shm")
    place = tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None)
    yield Path(place)
    trees.remove_deep(Path(place))


def test_five_thousand_levels(target: Target, client: Client, big_tree: Path) -> None:
    trees.make_deep(big_tree, 5000)
    assert delete(client, big_tree / "d")["removed"] == 5000
    assert os.listdir(big_tree) == []
    assert held(target.pid, big_tree) == []


def test_a_wide_tree(client: Client, big_tree: Path) -> None:
    build(big_tree / "top", {f"{index}/file": "" for index in range(2100)})
    assert delete(client, big_tree / "top")["removed"] == 4201
    assert os.listdir(big_tree) == []


def test_a_name_that_is_not_utf8(client: Client, tree: Path) -> None:
    path = os.fsencode(tree) + b"/\xff\n"
    os.makedirs(path + b"/\xfe")
    answer = client.request("DELETE", DELETE, query={"path_b64": b64(path)})
    assert (answer.status_code, answer.json()["path_b64"]) == (200, b64(path))
    assert os.listdir(tree) == []


# --- what is protected -----------------------------------------------------------------------


def spelled(path: str, tree: Path) -> Iterator[str]:
    """Ways to name a path, the root being ""; `tree/up` leads to the root."""
    yield f"{path}/"
    yield f"/{path}//"
    yield f"/app/..{path}"
    yield f"{path}/x/.."
    yield f"/.{path}/."
    if not path:
        return  # a link to the root is not itself protected
    yield path
    yield f"{tree}/up{path}"
    yield f"{tree}/up/{tree}/up{path}"
    yield f"/proc/self/root{path}"


@pytest.mark.parametrize("path", ["/proc", "/sys"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_kernels_trees_are_protected(
    client: Client, tree: Path, path: str, spelling: str
) -> None:
    (tree / "up").symlink_to("/")
    for one in spelled(path, tree):
        answer = SPELLINGS[spelling](client, one)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), one
        assert path in answer.json()["error"]
    answer = client.request("POST", DELETE, body={"path_b64": b64(path.encode())})
    assert answer.status_code == 403


def test_the_servers_own_state_is_protected(tmp_path: Path) -> None:
    with serving(tmp_path / "a/server") as target, target.client() as client:
        state = target.state_dir
        for path in (state, state.parent, state.parent.parent, state / "x/.."):
            assert str(state) in refused(client, 403, path)["error"]
        assert (state / "lock").exists()
        (state.parent / "beside").touch()
        delete(client, state.parent / "beside")


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """A server that sees the machine read-only, and a directory of its own that it may change.

    Its start fails where anything protected can be written.
    """
    place = tmp_path_factory.mktemp("sandbox").resolve()
    (place / "view").mkdir()
    (place / "up").symlink_to("/")
    preexec = mounting.inside(
        mounting.tmpfs(Path("/mnt"), "1m"),
        mounting.bind(place, place),
        mounting.bind(Path("/"), place / "view"),
        # Of these mounts alone: `bind` leaves the file systems themselves as they are.
        "cut -d ' ' -f 5 /proc/self/mountinfo | while read -r point; do "
        f'case "$point" in {place}|/mnt) ;; '
        '*) mount -o remount,bind,ro "$point" || true ;; esac; done',
        f"for one in / /etc /usr /usr/bin /usr/lib /dev /boot /run {place}/view {place}/view/etc; do "
        'if test -w "$one"; then echo "$one can be written"; exit 1; fi; done',
    )
    with serving(place / "server", preexec=preexec) as target, target.client() as client:
        yield client, place


@mounting.needs_mounts
@pytest.mark.parametrize("path", [one.decode() for one in PROTECTED])
def test_every_protected_path_however_it_is_spelled(
    sandboxed: tuple[Client, Path], path: str
) -> None:
    client, place = sandboxed
    bare = path.rstrip("/")
    real = os.path.realpath(path)
    spellings = [*spelled(bare, place), *spelled(real.rstrip("/"), place)]
    if not os.path.ismount(path) or path == "/":
        # A view of the root through another mount: no comparison of paths finds that. Where
        # something is mounted, the view shows the directory that is covered: another one.
        spellings += [f"{place}/view{bare}", f"{place}/view{real}"]
    for one in spellings:
        told = client.failure("DELETE", DELETE, 403, query={"path": one})
        assert told["code"] == "forbidden", one
        assert "errors" not in told
    assert os.path.lexists(path) or path == "/lib64"


@mounting.needs_mounts
def test_what_lies_below_a_protected_path_may_go(sandboxed: tuple[Client, Path]) -> None:
    client, _ = sandboxed
    body = {"path": "/mnt/a/b", "content": "x", "create_dirs": True}
    assert client.request("POST", "/files/write", body=body).status_code == 201
    assert delete(client, "/mnt/a")["removed"] == 2
    # Not refused as protected, but by the read-only mount.
    told = refused(client, 403, "/etc/issue")
    assert [one["path"] for one in told["errors"]] == ["/etc/issue"]
    assert "read-only" in told["error"]


# --- mounts ----------------------------------------------------------------------------------


@mounting.needs_mounts
def test_a_mount_point_is_409_and_nothing_is_removed(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"a/b c\\/": None, "a/file": "x", "z/file": "", "bound": ""})
    preexec = mounting.inside(
        mounting.tmpfs(top / "a/b c\\", "1m"), mounting.bind(top / "a/file", top / "bound")
    )
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        before = everything(top)
        (tmp_path / "link").symlink_to(top)
        for path, mount in {
            top: "a/b c\\",
            top / "a": "a/b c\\",
            top / "a/b c\\": "a/b c\\",
            tmp_path / "link/a": "a/b c\\",
            top / "bound": "bound",
        }.items():
            told = refused(client, 409, path)
            assert told["code"] == "conflict"
            assert str(top / mount) in told["error"]
            assert everything(top) == before
        delete(client, top / "z")
        # Protected comes first: the state directory lies below, and the mounts do too.
        refused(client, 403, tmp_path)


# --- half-way --------------------------------------------------------------------------------


@pytest.fixture
def immutable(tree: Path) -> Iterator[Callable[[Path], None]]:
    """Makes files that even root cannot remove, until the test is over."""
    marked: list[Path] = []

    def mark(path: Path) -> None:
        words = ["chattr", "+i", str(path)]
        if subprocess.run(words, check=False, capture_output=True).returncode != 0:
            pytest.skip("no immutable files here")
        marked.append(path)

    yield mark
    for path in marked:
        subprocess.run(["chattr", "-i", str(path)], check=True)


def test_half_way_says_what_failed_and_what_remains(
    client: Client, tree: Path, immutable: Callable[[Path], None]
) -> None:
    top = build(tree / "top", {"a/b/kept": "x", "a/b/gone": "", "c/gone": "", "d/kept": ""})
    immutable(top / "a/b/kept")
    immutable(top / "d")
    told = refused(client, 403, top)
    assert {one["path"] for one in told["errors"]} == {str(top / "a/b/kept"), str(top / "d/kept")}
    assert all("not permitted" in one["error"] for one in told["errors"])
    left = [top, *(Path(os.fsdecode(one)) for one in everything(top))]
    names = {"top", "a", "b", "kept", "d"}
    assert {one.name for one in left} == names
    assert {one["path"] for one in told["remaining"]} == {str(one) for one in left}
    assert told["removed"] == 3
    assert (told["success"], told["code"]) == (False, "forbidden")


def test_one_file_that_cannot_go(
    client: Client, tree: Path, immutable: Callable[[Path], None]
) -> None:
    (tree / "file").touch()
    immutable(tree / "file")
    told = refused(client, 403, tree / "file")
    assert [one["path"] for one in told["errors"]] == [str(tree / "file")]
    assert [one["path"] for one in told["remaining"]] == [str(tree / "file")]
    assert told["removed"] == 0


def test_many_failures_are_cut_and_flagged(
    client: Client, tree: Path, immutable: Callable[[Path], None]
) -> None:
    top = build(tree / "top", {str(index): "" for index in range(1500)})
    immutable(top)
    told = refused(client, 403, top)
    assert (len(told["errors"]), told["errors_truncated"]) == (1000, True)
    assert (len(told["remaining"]), told["remaining_truncated"]) == (1000, True)


def test_a_deadline_is_504_with_what_remains(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {f"{index}/file": "" for index in range(100)})
    with serving(tmp_path / "server", "--delete-seconds=1e-9") as target:
        with target.client() as client:
            told = refused(client, 504, top)
    assert told["code"] == "timeout"
    assert told["remaining"][0]["path"] == str(top)
    assert len(told["remaining"]) == len(everything(top)) + 1


def test_a_client_that_leaves_ends_the_removal(target: Target, big_tree: Path) -> None:
    top = big_tree / "top"
    for index in range(200):
        (top / str(index)).mkdir(parents=True)
        (top / str(index) / "file").touch()
        for inner in range(800):
            os.link(top / str(index) / "file", top / str(index) / str(inner))
    request = (
        f"DELETE {DELETE}?path={top} HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {target.token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", target.port)) as one:
        one.sendall(request.encode())
        wait_until(lambda: len(os.listdir(top)) < 200)
    wait_until(lambda: not held(target.pid, top))
    assert top.exists()


# --- swapped meanwhile -----------------------------------------------------------------------


def swap(top: Path, outside: Path, done: threading.Event) -> None:
    """Puts a link in the place of a directory and back, as fast as it can."""
    while not done.is_set():
        for name in ("a", "b"):
            with suppress(OSError):
                os.rename(top / name, top / f"{name}.moved")
                os.symlink(outside, top / name)
            with suppress(OSError):
                os.unlink(top / name)
            with suppress(OSError):
                os.rename(top / f"{name}.moved", top / name)


def test_a_directory_swapped_for_a_link_is_not_followed(big_tree: Path) -> None:
    outside = build(big_tree / "outside", {f"{index}/precious": "x" for index in range(50)})
    before = everything(outside)
    spec = {f"{name}/{index}/file": "" for name in "ab" for index in range(20)}
    disturbed = 0
    for _ in range(60):
        top, done = build(big_tree / "top", spec), threading.Event()
        swapper = threading.Thread(target=swap, args=[top, outside, done])
        swapper.start()
        place = _native.locate(os.fsencode(top), follow=False)
        account = _native.remove(place, _native.Guard([]), _native.Stop(), seconds=10)
        done.set()
        swapper.join()
        disturbed += account.removed != len(spec) * 2 + 3
        shutil.rmtree(top, ignore_errors=True)
    assert everything(outside) == before
    # The race was run: some removals met a link, or a directory that had gone.
    assert disturbed > 0

"""`PUT /files/raw`: a body of any size into a file, atomically, in constant memory.

Oracles: `hashlib`, `os.stat`, the server's own descriptors and memory as `/proc` tells them.
Source: wire contract, section 2, "Raw".
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import trees
from tests.client import Client, Json, b64
from tests.serving import Target, serving
from tests.trees import NO_FILES, etag, mode
from tests.watching import held, wait_until

RAW = "/files/raw"
MIB = 1024 * 1024


def put(client: Client, path: Path, content: object, **query: object) -> Json:
    """An upload that must succeed."""
    answer = client.request("PUT", RAW, query={"path": path, **query}, content=content)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


SIZES = (0, 1, 65_535, 524_287, 524_288, 524_289, 7_000_003)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_is_in_the_file(client: Client, tree: Path, size: int, chunked: bool) -> None:
    content = os.urandom(size)
    path = tree / "file"
    pieces = iter([content[at : at + 100_000] for at in range(0, size, 100_000)])
    query: dict[str, object] = {"path": path}
    answer = client.request("PUT", RAW, query=query, content=pieces if chunked else content)
    assert answer.status_code == 201, answer.text
    assert path.read_bytes() == content
    assert answer.json() == {
        "success": True,
        "path": str(path),
        "size": size,
        "hash": hashlib.sha256(content).hexdigest(),
        "etag": etag(path),
    }
    assert answer.headers["etag"] == etag(path)
    assert client.get(RAW, path=path).content == content
    assert os.listdir(tree) == ["file"]


def test_mode_parents_and_what_is_replaced(client: Client, tree: Path) -> None:
    put(client, tree / "a/b/file", b"x", create_dirs=True, mode="0750")
    assert mode(tree / "a/b/file") == 0o750
    put(client, tree / "a/b/file", b"y")
    assert mode(tree / "a/b/file") == 0o750
    (tree / "link").symlink_to("a/b/file")
    put(client, tree / "link", b"z")
    assert (tree / "link").is_symlink()
    assert (tree / "a/b/file").read_bytes() == b"z"
    put(client, tree / "plain", b"x")
    assert mode(tree / "plain") == 0o644


def test_a_name_that_is_not_utf8(client: Client, tree: Path) -> None:
    path = os.fsencode(tree) + b"/\xff"
    answer = client.request("PUT", RAW, query={"path_b64": b64(path)}, content=b"x")
    assert (answer.status_code, answer.json()["path_b64"]) == (201, b64(path))
    assert os.listdir(os.fsencode(tree)) == [b"\xff"]


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_400_at_once(client: Client, tree: Path, name: str) -> None:
    NO_FILES[name](tree / "thing")
    query: dict[str, object] = {"path": tree / "thing"}
    client.failure("PUT", RAW, 400, query=query, content=b"x")


def test_what_is_refused_makes_nothing(client: Client, tree: Path) -> None:
    cases: dict[str, tuple[int, dict[str, object], str]] = {
        "no parent": (404, {"path": tree / "a/file"}, "create_dirs"),
        "mode": (400, {"path": tree / "file", "mode": "9"}, "mode"),
        "relative": (400, {"path": "file"}, "path"),
        "no path": (400, {}, "path"),
    }
    for status, query, named in cases.values():
        told = client.failure("PUT", RAW, status, query=query, content=b"x")
        assert named in told["error"]
    assert os.listdir(tree) == []


def test_a_part_is_not_taken_for_the_whole(client: Client, tree: Path) -> None:
    (tree / "file").write_text("old")
    headers = {"Content-Range": "bytes 0-0/3"}
    query: dict[str, object] = {"path": tree / "file"}
    told = client.failure("PUT", RAW, 400, query=query, content=b"x", headers=headers)
    assert "Content-Range" in told["error"]
    assert (tree / "file").read_text() == "old"


# --- uploads that do not arrive --------------------------------------------------------------


def begin(target: Target, path: Path, framing: str) -> socket.socket:
    """A request whose body has only begun."""
    one = socket.create_connection(("127.0.0.1", target.port))
    head = (
        f"PUT {RAW}?path={path} HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {target.token}\r\n{framing}\r\n\r\n"
    )
    piece = b"x" * 1_000_000
    size = b"%x\r\n" % len(piece) if "chunked" in framing else b""
    one.sendall(head.encode() + size + piece)
    wait_until(lambda: held(target.pid, path.parent))
    return one


FRAMINGS = ("Content-Length: 5000000", "Transfer-Encoding: chunked")


@pytest.fixture(params=["old file", "no file"])
def path(request: pytest.FixtureRequest, tree: Path) -> Iterator[Path]:
    """Where an upload goes that must not arrive; checked afterwards."""
    file = tree / "file"
    if request.param == "old file":
        file.write_text("old")
    before = {one: one.stat() for one in tree.iterdir()}
    yield file
    assert {one: one.stat() for one in tree.iterdir()} == before


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_client_that_leaves_changes_nothing(target: Target, path: Path, framing: str) -> None:
    begin(target, path, framing).close()
    wait_until(lambda: not held(target.pid, path.parent))


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_client_that_half_closes_changes_nothing(
    target: Target, path: Path, framing: str
) -> None:
    with begin(target, path, framing) as one:
        one.shutdown(socket.SHUT_WR)
        wait_until(lambda: not held(target.pid, path.parent))


def test_a_broken_chunk_changes_nothing(target: Target, path: Path) -> None:
    with begin(target, path, FRAMINGS[1]) as one:
        one.sendall(b"\r\nnot hex\r\n")
        assert b" 400 " in one.recv(100)
        wait_until(lambda: not held(target.pid, path.parent))


def test_a_client_that_stalls_is_given_up(tmp_path: Path, path: Path) -> None:
    with serving(tmp_path / "server", "--body-idle-seconds=0.2") as target:
        with begin(target, path, FRAMINGS[0]) as one:
            assert one.recv(20).startswith(b"HTTP/1.1 4")
        wait_until(lambda: not held(target.pid, path.parent))


def test_a_server_that_ends_leaves_nothing(tmp_path: Path, path: Path) -> None:
    with serving(tmp_path / "server", "--grace-seconds=0.1") as target:
        begin(target, path, FRAMINGS[0])


# --- memory ----------------------------------------------------------------------------------


def peak(pid: int) -> int:
    (line,) = [
        one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in one
    ]
    return int(line.split()[1]) * 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def added_by_upload(tmp_path: Path, size: int) -> int:
    """By how much an upload raises the server's memory, in bytes."""
    piece = os.urandom(MIB)
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        for _ in range(size // MIB):
            digest.update(piece)
            yield piece

    with serving(tmp_path / "server") as target, target.client() as client:
        put(client, tmp_path / "warm", piece)
        before = peak(target.pid)
        forget_peak(target.pid)
        told = put(client, tmp_path / "big", body())
        assert (told["size"], told["hash"]) == (size, digest.hexdigest())
        assert trees.sha256(tmp_path / "big") == digest.hexdigest()
        (tmp_path / "big").unlink()
        return peak(target.pid) - before


def test_memory_is_constant(tmp_path: Path) -> None:
    assert added_by_upload(tmp_path, 192 * MIB) < 16 * MIB


@pytest.mark.slow
def test_memory_is_constant_for_two_gigabytes(tmp_path: Path) -> None:
    assert added_by_upload(tmp_path, 2048 * MIB) < 16 * MIB

"""`POST /files/transfer/download`: the tree as a tar.gz that others can read, and what is told of it.

Oracles: GNU tar, bsdtar, Python's tarfile, `os.lstat`.
Source: wire contract, section 2, "Transfer".
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests import archives, trees
from tests.client import Client, b64
from tests.serving import Target
from tests.sockets import dechunked
from tests.watching import held, wait_until

ENDPOINT = "/files/transfer/download"
TARS = [
    "tar",
    pytest.param(
        "bsdtar", marks=pytest.mark.skipif(shutil.which("bsdtar") is None, reason="no bsdtar")
    ),
]


def downloaded(client: Client, *paths: object, **body: Any) -> bytes:
    answer = client.request("POST", ENDPOINT, body={"paths": [str(one) for one in paths], **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/gzip"
    return answer.content


def names(archive: bytes) -> set[str]:
    return {one.name for one in archives.members(archive)}


@contextmanager
def asking(target: Target, **body: Any) -> Iterator[socket.socket]:
    """A download under way, the client's buffer kept small."""
    content = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", target.port), timeout=60) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        one.sendall(
            f"POST {ENDPOINT} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            f"Content-Length: {len(content)}\r\nAuthorization: Bearer {target.token}\r\n\r\n".encode()
            + content
        )
        yield one


def rest_of(one: socket.socket, taken: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """Head, body and trailer fields."""
    pieces = [taken]
    while piece := one.recv(1 << 20):
        pieces.append(piece)
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    return head, dechunked(body), body.rpartition(b"\r\n0\r\n")[2]


@pytest.mark.parametrize("program", TARS)
def test_a_tree_is_the_same_after_other_tars(
    client: Client, tree: Path, tmp_path: Path, program: str
) -> None:
    archives.rich(tree)
    archives.unpack(program, downloaded(client, tree), tmp_path / "out")
    assert archives.survey(tmp_path / "out" / "tree", top=True) == archives.survey(tree, top=True)


@pytest.mark.parametrize("level", range(10))
def test_every_level_holds_the_same(client: Client, tree: Path, level: int) -> None:
    trees.build(tree, {"a": "text " * 1000})
    archive = downloaded(client, tree, level=level)
    assert gzip.decompress(archive) == gzip.decompress(downloaded(client, tree))
    assert (len(archive) > 5000) == (level == 0)


def test_a_path_is_stored_by_its_last_name(client: Client, tree: Path) -> None:
    trees.build(tree, {"app/src/main": "1", "app/package.json": "{}", "lib/x": "2"})
    os.symlink("src", tree / "app/link")
    found = names(
        downloaded(client, tree / "app/src", tree / "app/package.json", tree / "app/link")
    )
    assert found == {"src", "src/main", "package.json", "link"}


def test_with_a_base_names_are_relative_to_it(client: Client, tree: Path) -> None:
    trees.build(tree, {"one/x": "1", "two/x": "2"})
    where = str(tree)[1:]
    paths = [tree / "one/x", tree / "two/x"]
    assert names(downloaded(client, *paths, base="/")) == {f"{where}/one/x", f"{where}/two/x"}
    assert names(downloaded(client, *paths, base=str(tree))) == {"one/x", "two/x"}
    assert names(downloaded(client, tree, base=str(tree))) == {
        ".", "one", "one/x", "two", "two/x",
    }  # fmt: skip


def test_a_path_in_another_makes_no_link_to_itself(client: Client, tree: Path) -> None:
    """The same name comes twice: readers refuse a hard link to what they are to make anew."""
    trees.build(tree, {"a/one": "text"})
    os.link(tree / "a/one", tree / "a/two")
    body = {"paths": [str(tree / "a"), str(tree)], "base": str(tree)}
    answer = client.request("POST", ENDPOINT, body=body)
    found = archives.members(answer.content)
    assert [one.name for one in found].count("a/one") == 2
    assert not [one.name for one in found if one.islnk() and one.linkname == one.name]


def test_a_path_that_is_not_utf_8(client: Client, tree: Path) -> None:
    place = os.fsencode(tree) + b"/\xff"
    Path(os.fsdecode(place)).write_text("x")
    body = {"paths_b64": [b64(place)], "base_b64": b64(os.fsencode(tree))}
    answer = client.request("POST", ENDPOINT, body=body)
    (member,) = archives.members(answer.content)
    assert os.fsencode(member.name) == b"\xff"


LEFT = {"app", "app/a", "app/a/x.log", "app/a/build", "app/a/build/o", "app/build", "app/build/o"}
EXCLUDES = [
    (["*.log"], {"app/a/x.log"}),
    (["build"], {"app/a/build", "app/a/build/o", "app/build", "app/build/o"}),
    (["build/"], {"app/a/build", "app/a/build/o", "app/build", "app/build/o"}),
    (["a/build"], {"app/a/build", "app/a/build/o"}),
    (["/build"], {"app/build", "app/build/o"}),
    (["app/build"], {"app/build", "app/build/o"}),
    (["**/o"], {"app/a/build/o", "app/build/o"}),
    (["a/*"], {"app/a/x.log", "app/a/build", "app/a/build/o"}),
    (["o", "x.log"], {"app/a/build/o", "app/build/o", "app/a/x.log"}),
    (["app"], set()),
    (["nothing", ""], set()),
]


@pytest.mark.parametrize(("patterns", "gone"), EXCLUDES, ids=[str(one[0]) for one in EXCLUDES])
def test_patterns_leave_out(
    client: Client, tree: Path, patterns: list[str], gone: set[str]
) -> None:
    trees.build(tree, {"app/a/x.log": "", "app/a/build/o": "", "app/build/o": ""})
    archive = downloaded(client, tree / "app", exclude_patterns=patterns)
    assert names(archive) == LEFT - gone


def account(archive: bytes) -> dict[str, Any]:
    return dict(json.loads(archives.members(archive)[-1].pax_headers["comment"]))


def test_what_is_no_file_is_left_out_and_named(
    client: Client, target: Target, tree: Path, tmp_path: Path
) -> None:
    trees.build(tree, {"file": "x", "d/": None})
    os.mkfifo(tree / "d/fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tree / "socket"))
        with asking(target, paths=[str(tree)]) as asked:
            head, archive, trailers = rest_of(asked)
    assert b"trailer: x-hutch-skipped, x-hutch-changed" in head.lower()
    assert trailers == b"x-hutch-skipped: 2\r\nx-hutch-changed: 0\r\n\r\n"
    assert names(archive) == {"tree", "tree/file", "tree/d"}
    told = account(archive)
    assert {one["path"] for one in told["skipped"]} == {f"{tree}/d/fifo", f"{tree}/socket"}
    assert (told["skipped_total"], told["changed_total"]) == (2, 0)
    # The directory that carries the account is no surprise to anybody.
    for program in ["tar", *(["bsdtar"] if shutil.which("bsdtar") else [])]:
        archives.unpack(program, archive, tmp_path / program)
        assert archives.survey(tmp_path / program)[b"tree/file"]


def test_what_is_in_a_pseudo_file_system_is_left_out(client: Client) -> None:
    patterns = ["/*", "!/proc"]
    archive = downloaded(client, "/", base="/", exclude_patterns=patterns)
    assert names(archive) == {".", "proc"}
    assert [one["path"] for one in account(archive)["skipped"]] == ["/proc"]


def test_what_the_kernel_makes_is_stored_as_it_is_read(client: Client, tmp_path: Path) -> None:
    archive = downloaded(client, "/proc/version", "/proc/sys/kernel/random", base="/proc")
    archives.unpack("tar", archive, tmp_path / "out")
    assert (tmp_path / "out/version").read_text() == Path("/proc/version").read_text()
    assert (tmp_path / "out/sys/kernel/random/poolsize").read_text().strip().isdigit()


def grow(place: Path) -> None:
    with place.open("ab") as file:
        file.write(b"more")


def shrink(place: Path) -> None:
    os.truncate(place, 1000)


@pytest.mark.parametrize("change", [grow, shrink])
@pytest.mark.parametrize("alone", [False, True])
def test_a_file_that_changes_meanwhile_keeps_its_announced_size(
    target: Target, tree: Path, change: Any, alone: bool
) -> None:
    big, size = tree / "big", 20 << 20
    big.write_bytes(os.urandom(size))
    with asking(target, paths=[str(big if alone else tree)], level=0) as one:
        taken = one.recv(1000)
        change(big)
        _, archive, trailers = rest_of(one, taken)
    assert trailers == b"x-hutch-skipped: 0\r\nx-hutch-changed: 1\r\n\r\n"
    found = {one.name: one for one in archives.members(archive)}
    assert found["big" if alone else "tree/big"].size == size
    if alone:
        command = ["tar", "-xzOf", "-", ".hutch-transfer.json"]
        told = json.loads(
            subprocess.run(command, input=archive, capture_output=True, check=True).stdout
        )
    else:
        told = account(archive)
    assert [one["path"] for one in told["changed"]] == [str(big)]
    assert ("zeros" in told["changed"][0]["reason"]) == (change is shrink)


def test_bad_requests_name_the_value(client: Client, tree: Path) -> None:
    trees.build(tree, {"a/x": "", "b/x": "", "file": ""})
    os.mkfifo(tree / "fifo")
    missing, file = str(tree / "missing"), str(tree / "file")
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 400, "paths"),
        ({"paths": []}, 400, "paths"),
        ({"paths": file}, 400, "paths"),
        ({"paths": [1]}, 400, "paths"),
        ({"paths": ["a/x"]}, 400, "a/x"),
        ({"paths": ["~/x"]}, 400, "~/x"),
        ({"paths": ["/a\0"]}, 400, "paths"),
        ({"paths": [""]}, 400, "paths"),
        ({"paths_b64": ["!"]}, 400, "paths_b64"),
        ({"paths": [file, missing]}, 404, missing),
        ({"paths": [f"{file}/below"]}, 400, "below"),
        ({"paths": [str(tree / "fifo")]}, 400, "fifo"),
        ({"paths": [file, f"{tree}/a/../file"]}, 400, "twice"),
        ({"paths": [str(tree / "a/x"), str(tree / "b/x")]}, 400, "base"),
        ({"paths": [file], "base": "/usr"}, 400, "/usr"),
        ({"paths": [file], "base": "relative"}, 400, "base"),
        ({"paths": [file], "exclude_patterns": ["["]}, 400, "exclude_patterns"),
        ({"paths": [file], "exclude_patterns": "x"}, 400, "exclude_patterns"),
        ({"paths": [file], "level": 10}, 400, "level"),
        ({"paths": [file], "level": -1}, 400, "level"),
        ({"paths": ["/nothing"] * 10_001}, 400, "10000"),
        ({"paths": ["/" + "x" * 5000]}, 400, "too long"),
    ]
    for body, status, word in cases:
        assert word in client.failure("POST", ENDPOINT, status, body=body)["error"], body


def test_nothing_is_followed(client: Client, tree: Path, tmp_path: Path) -> None:
    secret = trees.build(tmp_path / "outside", {"secret": "s"})
    os.symlink(secret, tree / "link")
    archive = downloaded(client, tree, tree / "link")
    assert {one.name: one.issym() for one in archives.members(archive)} == {
        "tree": False, "tree/link": True, "link": True,
    }  # fmt: skip


def test_a_client_that_goes_away_ends_the_work(client: Client, target: Target, tree: Path) -> None:
    (tree / "big").write_bytes(os.urandom(32 << 20))
    with asking(target, paths=[str(tree)]) as one:
        assert one.recv(1000)
        assert held(target.pid, tree)
    wait_until(lambda: not held(target.pid, tree))


def test_clients_that_stall_hold_no_thread(client: Client, target: Target, tree: Path) -> None:
    (tree / "big").write_bytes(os.urandom(24 << 20))
    stalled = [asking(target, paths=[str(tree)], level=0) for _ in range(8)]
    with ExitStack() as stack:
        for one in stalled:
            assert stack.enter_context(one).recv(1)
        assert client.entries(path=tree)
        assert names(downloaded(client, tree)) == {"tree", "tree/big"}


def test_a_tree_of_five_thousand_levels(client: Client, tree: Path, tmp_path: Path) -> None:
    trees.make_deep(tree, 5000)
    archive = downloaded(client, tree)
    found = archives.members(archive)
    assert len(found) == 5001
    assert max(one.name.count("/") for one in found) == 5000
    trees.remove_deep(tree)

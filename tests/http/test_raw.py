"""`GET /files/raw`: a file's exact bytes, whole or a part of them.

Oracle: the file itself; for ranges a table after RFC 9110, section 14.
Source: wire contract, section 2, "Raw".
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack, suppress
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import trees
from tests.client import Client, b64
from tests.serving import Target
from tests.sockets import asking, memory_kib, taken_while
from tests.trees import etag

RAW = "/files/raw"
BATCH = 256 * 1024


@pytest.fixture
def file(tree: Path) -> Path:
    path = tree / "file"
    path.write_bytes(b"0123456789")
    return path


SIZES = (0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH, 5_000_000)


@pytest.mark.parametrize("size", SIZES)
def test_the_bytes_are_those_of_the_file(client: Client, file: Path, size: int) -> None:
    content = os.urandom(size)
    file.write_bytes(content)
    answer = client.get(RAW, path=file)
    assert (answer.status_code, answer.content) == (200, content)
    assert dict(answer.headers) | {
        "content-type": "application/octet-stream",
        "content-length": str(size),
        "accept-ranges": "bytes",
        "etag": etag(file),
        "last-modified": formatdate(int(file.stat().st_mtime), usegmt=True),
        "cache-control": "private, no-cache",
    } == dict(answer.headers)


RANGES: dict[str, tuple[int, bytes]] = {
    "bytes=0-0": (206, b"0"),
    "bytes=2-4": (206, b"234"),
    "bytes=7-": (206, b"789"),
    "bytes=-3": (206, b"789"),
    "bytes=-99": (206, b"0123456789"),
    "bytes=0-99": (206, b"0123456789"),
    "bytes=9-9": (206, b"9"),
    "BYTES=1-2": (206, b"12"),
    "bytes=0-" + "9" * 5000: (206, b"0123456789"),
    "bytes=10-": (416, b""),
    "bytes=10-12": (416, b""),
    "bytes=" + "9" * 5000 + "-": (416, b""),
    "bytes=-0": (416, b""),
    # Malformed, of another unit, or several: ignored.
    "bytes=4-2": (200, b"0123456789"),
    "bytes=-": (200, b"0123456789"),
    "bytes=a-b": (200, b"0123456789"),
    "bytes=1": (200, b"0123456789"),
    "bytes": (200, b"0123456789"),
    "lines=1-2": (200, b"0123456789"),
    "bytes=0-1,4-5": (200, b"0123456789"),
    "bytes=0-1,junk": (200, b"0123456789"),
}


@pytest.mark.parametrize("asked", RANGES, ids=lambda one: str(one)[:20])
def test_ranges(client: Client, file: Path, asked: str) -> None:
    status, wanted = RANGES[asked]
    answer = client.request("GET", RAW, query={"path": file}, headers={"Range": asked})
    assert answer.status_code == status, answer.text
    if status == 416:
        assert answer.headers["content-range"] == "bytes */10"
        assert answer.json()["code"] == "range_not_satisfiable"
        return
    assert answer.content == wanted
    assert answer.headers["content-length"] == str(len(wanted))
    first = 10 - len(wanted) if asked.startswith("bytes=-") else int(wanted[:1])
    span = f"bytes {first}-{first + len(wanted) - 1}/10" if status == 206 else None
    assert answer.headers.get("content-range") == span


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, 3 * BATCH), length=st.integers(1, 2 * BATCH))
def test_ranges_of_a_large_file(client: Client, tree: Path, first: int, length: int) -> None:
    large = tree / "large"
    if not large.exists():
        large.write_bytes(os.urandom(3 * BATCH + 1))
    headers = {"Range": f"bytes={first}-{first + length - 1}"}
    answer = client.request("GET", RAW, query={"path": large}, headers=headers)
    assert answer.status_code == 206
    assert answer.content == large.read_bytes()[first : first + length]


def test_ranges_reach_into_a_file_of_many_gigabytes(client: Client, file: Path) -> None:
    with file.open("r+b") as sink:
        sink.seek(2**42)
        sink.write(b"end")
    headers = {"Range": "bytes=-4"}
    answer = client.request("GET", RAW, query={"path": file}, headers=headers)
    assert answer.content == b"\0end"
    assert answer.headers["content-range"] == f"bytes {2**42 - 1}-{2**42 + 2}/{2**42 + 3}"


def test_an_empty_file_has_no_ranges(client: Client, file: Path) -> None:
    file.write_bytes(b"")
    for asked, status in {"bytes=0-": 416, "bytes=0-5": 416, "bytes=-5": 200}.items():
        answer = client.request("GET", RAW, query={"path": file}, headers={"Range": asked})
        assert answer.status_code == status


def test_if_range_makes_a_range_conditional(client: Client, file: Path) -> None:
    date = formatdate(int(file.stat().st_mtime), usegmt=True)
    cases = {
        etag(file): 206,
        date: 206,
        '"other"': 200,
        f"W/{etag(file)}": 200,
        formatdate(0, usegmt=True): 200,
        "nonsense": 200,
    }
    for condition, status in cases.items():
        headers = {"Range": "bytes=0-0", "If-Range": condition}
        answer = client.request("GET", RAW, query={"path": file}, headers=headers)
        assert answer.status_code == status, condition


def test_conditions_are_those_of_rfc_9110(client: Client, file: Path) -> None:
    tag, now = etag(file), formatdate(int(file.stat().st_mtime), usegmt=True)
    past, future = formatdate(1_000_000, usegmt=True), formatdate(4_000_000_000, usegmt=True)
    cases: list[tuple[dict[str, str], int]] = [
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": now}, 304),
        ({"If-Modified-Since": future}, 304),
        ({"If-Modified-Since": past}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
        # A tag counts before a date.
        ({"If-None-Match": '"x"', "If-Modified-Since": now}, 200),
        ({"If-Match": tag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": now}, 200),
        ({"If-Unmodified-Since": past}, 412),
        ({"If-Match": tag, "If-Unmodified-Since": past}, 200),
        ({"If-Match": '"x"', "If-None-Match": tag}, 412),
        ({"If-None-Match": tag, "Range": "bytes=0-0"}, 304),
        ({"If-Match": "unquoted"}, 400),
    ]
    for headers, status in cases:
        answer = client.request("GET", RAW, query={"path": file}, headers=headers)
        assert answer.status_code == status, headers
        if status == 304:
            assert (answer.content, answer.headers["etag"]) == (b"", tag)
            assert "content-length" not in answer.headers


def test_head_has_the_headers_of_get(client: Client, file: Path) -> None:
    for size in (10, 1_000_000):
        file.write_bytes(b"a" * size)
        query: dict[str, object] = {"path": file}
        get, head = (client.request(method, RAW, query=query) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (200, b"")
        own = {"date", "x-request-id"}
        assert {k: v for k, v in head.headers.items() if k not in own} == {
            k: v for k, v in get.headers.items() if k not in own
        }
    # Range is defined for GET alone.
    headers = {"Range": "bytes=0-0"}
    answer = client.request("HEAD", RAW, query=query, headers=headers)
    assert (answer.status_code, answer.headers["content-length"]) == (200, "1000000")


def test_what_is_no_file_is_400_at_once(client: Client, tree: Path) -> None:
    places = [tree, trees.make_fifo(tree / "fifo"), trees.make_socket(tree / "socket")]
    for place in [*places, Path("/dev/zero"), Path("/dev/null")]:
        told = client.failure("GET", RAW, 400, query={"path": place})
        assert str(place) in told["error"]
        client.failure("HEAD", RAW, 400, query={"path": place})
    client.failure("GET", RAW, 404, query={"path": tree / "nothing"})


@pytest.mark.parametrize("path", ["/proc/filesystems", "/proc/kallsyms", "/sys/kernel/mm/ksm/run"])
def test_files_without_a_true_size(client: Client, path: str) -> None:
    """`/proc` says 0 and `/sys` a page; `/proc/kallsyms` is megabytes of it."""
    if not Path(path).exists():
        path = "/proc/self/mounts"
    answer = client.get(RAW, path=path)
    assert answer.content == Path(path).read_bytes()
    assert "etag" not in answer.headers


@pytest.mark.parametrize("path", ["/proc/self/mem", "/proc/sys/net/ipv6/conf/all/stable_secret"])
def test_what_the_kernel_will_not_give_is_no_server_error(client: Client, path: str) -> None:
    if Path(path).exists():
        for endpoint in (RAW, "/files/read"):
            assert path in client.failure("GET", endpoint, 400, query={"path": path})["error"]


ODD_NAMES = (b"caf\xe9.txt", b"\xff", b"a\nb", b'"\\', b" ", b"%41", b"+&=#?")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_legal_name_can_be_read(client: Client, tree: Path, name: bytes) -> None:
    path = os.fsencode(tree) + b"/" + name
    with open(path, "wb") as sink:
        sink.write(b"\0content")
    assert client.get(RAW, path_b64=b64(path)).content == b"\0content"


def test_a_file_that_shrinks_is_cut_short_and_never_padded(target: Target, file: Path) -> None:
    size = 20_000_000
    file.write_bytes(b"a" * size)
    head, body = taken_while(target, f"{RAW}?path={file}", lambda: os.truncate(file, 1000))
    assert b"content-length: %d" % size in head.lower()
    assert len(body) < size
    assert body == b"a" * len(body)


def test_growth_is_ignored(target: Target, file: Path) -> None:
    size = 20_000_000
    file.write_bytes(b"a" * size)
    _, body = taken_while(target, f"{RAW}?path={file}", lambda: os.truncate(file, 2 * size))
    assert body == b"a" * size


def open_on(target: Target, file: Path) -> int:
    """How many descriptors the server has on a file."""
    found = 0
    for one in Path(f"/proc/{target.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += one.readlink() == file
    return found


def test_no_descriptor_stays_open(target: Target, client: Client, file: Path) -> None:
    file.write_bytes(b"a" * 1_000_000)
    with asking(target, f"{RAW}?path={file}") as one:
        assert one.recv(1)
        assert open_on(target, file) == 1
    for headers in ({"If-None-Match": "*"}, {"If-Match": '"x"'}, {"Range": "bytes=9999999-"}, {}):
        for method in ("GET", "HEAD"):
            for path in (RAW, "/files/read"):
                client.request(method, path, query={"path": file}, headers=headers)
    deadline = time.monotonic() + 10
    while open_on(target, file):
        assert time.monotonic() < deadline, "a descriptor stays open"
        time.sleep(0.01)  # a file is closed without telling anybody


def test_times_that_http_cannot_write(client: Client) -> None:
    """Of a file system that keeps them; most disks do not."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        for moment in (2**55, -(2**55)):
            os.utime(file.name, ns=(0, moment * 10))
            os.utime(file.name, (0, moment))
            for path in (RAW, "/files/read", "/files/stat"):
                assert client.get(path, path=file.name).status_code == 200


def test_stalled_readers_hold_a_batch_each(target: Target, client: Client, file: Path) -> None:
    """Forty readers of forty MB, none of which takes more than its first bytes."""
    file.write_bytes(b"a" * 40_000_000)
    for path in (RAW, "/files/read"):
        before = memory_kib(target)
        with ExitStack() as stack:
            for _ in range(40):
                one = stack.enter_context(asking(target, f"{path}?path={file}"))
                assert one.recv(100)
            grown = memory_kib(target) - before
            assert client.json("/health") == {"status": "ok"}
        assert grown < 64 * 1024, (path, grown)

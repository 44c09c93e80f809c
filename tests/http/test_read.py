"""`GET /files/read`: a file's text, whole or by lines.

Oracles: `bytes.decode("utf-8", "replace")`, `splitlines` on newlines alone, `cat -n`, hashlib.
Source: wire contract, section 2, "Read"; reference, "Read file".
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import trees
from tests.client import Client, Json, b64
from tests.serving import Target, serving
from tests.sockets import asking, dechunked, taken_while

READ = "/files/read"


@pytest.fixture
def file(tree: Path) -> Path:
    return tree / "file.txt"


def lines_of(content: bytes) -> list[bytes]:
    """Lines with their newlines; a carriage return is content."""
    parts = content.split(b"\n")
    ended = [part + b"\n" for part in parts[:-1]]
    return ended + ([parts[-1]] if parts[-1] else [])


def test_a_whole_file_has_the_documented_fields(client: Client, file: Path) -> None:
    file.write_bytes("żółw\nb\n".encode())
    told = client.json(READ, path=file)
    assert told == {
        "success": True,
        "path": str(file),
        "content": "żółw\nb\n",
        "size": 10,
        "lines": 2,
        "extension": ".txt",
        "hash": trees.sha256(file),
    }


def test_a_range_has_the_documented_fields(client: Client, file: Path) -> None:
    file.write_text("a\nb\nc\nd\n")
    told = client.json(READ, path=file, start_line=2, end_line=3)
    assert told == {
        "success": True,
        "path": str(file),
        "content": "b\nc\n",
        "size": 8,
        "lines": 2,
        "extension": ".txt",
        "start_line": 2,
        "end_line": 3,
    }


NAMES = {"file": None, "a.tar.gz": ".gz", ".profile": None, "x.": ".", "ÄÖ.Ü": ".Ü"}


@pytest.mark.parametrize("name", NAMES)
def test_the_extension_is_there_when_there_is_one(client: Client, tree: Path, name: str) -> None:
    (tree / name).write_text("")
    assert client.json(READ, path=tree / name).get("extension") == NAMES[name]


CONTENTS = {
    "empty": b"",
    "no newline at the end": b"a\nb",
    "newline at the end": b"a\nb\n",
    "only newlines": b"\n\n\n",
    "carriage returns": b"a\r\nb\rc\r\n",
    "other separators": "a\u2028b\x0bc\x0cd\x85e\n".encode(),
    "quotes and controls": bytes(range(1, 128)),
    "astral": "\U0001f600\n\ufeffx".encode(),
    "latin-1": b"caf\xe9\nna\xefve",
    "truncated": b"a\xf0\x9f\x98",
    "surrogate": b"\xed\xa0\x80",
    "overlong": b"\xc0\xaf\n\xe0\x80\x80",
    "all bytes": bytes(range(1, 256)),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_content_is_always_text(client: Client, file: Path, name: str) -> None:
    content = CONTENTS[name]
    file.write_bytes(content)
    told = client.json(READ, path=file)
    text = content.decode("utf-8", "replace")
    assert told["content"] == text
    assert told.get("lossy") == (True if text.encode() != content else None)
    assert (told["size"], told["lines"]) == (len(content), len(lines_of(content)))
    assert told["hash"] == hashlib.sha256(content).hexdigest()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from([b"a", b"\n", b"\xc3", b"\xb1", b"\xf0\x9f", b'"'])).map(b"".join),
    ).map(lambda raw: raw.replace(b"\0", b"")),
    start=st.none() | st.integers(1, 12),
    count=st.none() | st.integers(0, 12),
)
def test_ranges_are_the_exact_bytes_of_their_lines(
    client: Client, file: Path, content: bytes, start: int | None, count: int | None
) -> None:
    file.write_bytes(content)
    end = None if count is None else (start or 1) + count
    told = client.json(READ, path=file, start_line=start, end_line=end)
    first, whole = start or 1, lines_of(content)
    wanted = whole[first - 1 : end]
    assert told["content"] == b"".join(wanted).decode("utf-8", "replace")
    assert (told["lines"], told["size"]) == (len(wanted), len(content))
    is_range = start is not None or end is not None
    bounds = (first, first + len(wanted) - 1 if end is None else end) if is_range else (None, None)
    assert (told.get("start_line"), told.get("end_line")) == bounds
    assert ("hash" in told) == (not is_range)


BOUNDS: dict[str, tuple[Json, Json]] = {
    "start past the end": (
        {"start_line": 9},
        {"content": "", "lines": 0, "start_line": 9, "end_line": 8},
    ),
    "both past the end": (
        {"start_line": 9, "end_line": 12},
        {"content": "", "lines": 0, "start_line": 9, "end_line": 12},
    ),
    "only start": (
        {"start_line": 2},
        {"content": "b\nc", "lines": 2, "start_line": 2, "end_line": 3},
    ),
    "only end": (
        {"end_line": 2},
        {"content": "a\nb\n", "lines": 2, "start_line": 1, "end_line": 2},
    ),
    "end past the end": (
        {"end_line": 99},
        {"content": "a\nb\nc", "lines": 3, "start_line": 1, "end_line": 99},
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_are_answered_as_asked(client: Client, file: Path, name: str) -> None:
    file.write_text("a\nb\nc")
    asked, wanted = BOUNDS[name]
    told = client.json(READ, path=file, **asked)
    assert {key: told[key] for key in wanted} == wanted


WRONG: dict[str, tuple[Json, str]] = {
    "end before start": ({"start_line": 3, "end_line": 2}, "end_line"),
    "end of zero": ({"end_line": 0}, "end_line"),
    "end below zero": ({"end_line": -1}, "end_line"),
    "start of zero": ({"start_line": 0}, "start_line"),
    "base64 with start": ({"encoding": "base64", "start_line": 1}, "encoding=base64"),
    "base64 with end": ({"encoding": "base64", "end_line": 1}, "encoding=base64"),
    "base64 with numbers": ({"encoding": "base64", "with_line_numbers": True}, "encoding=base64"),
    "another encoding": ({"encoding": "latin-1"}, "encoding"),
    "no path": ({"path": None}, "path"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_asked_is_named(client: Client, file: Path, name: str) -> None:
    file.write_text("a\n")
    asked, word = WRONG[name]
    told = client.failure("GET", READ, 400, query={"path": file, **asked})
    assert told["code"] == "bad_request"
    assert word in told["error"]


@pytest.mark.parametrize("name", CONTENTS)
def test_line_numbers_are_those_of_cat(client: Client, file: Path, name: str) -> None:
    file.write_bytes(CONTENTS[name])
    numbered = subprocess.run(["cat", "-n", file], capture_output=True, check=True).stdout
    told = client.json(READ, path=file, with_line_numbers=True)
    assert told["content"] == numbered.decode("utf-8", "replace")
    assert told["size"] == len(CONTENTS[name])


def test_a_range_has_the_numbers_of_its_lines(client: Client, file: Path) -> None:
    file.write_text("".join(f"{number}\n" for number in range(1, 1_000_003)))
    told = client.json(
        READ, path=file, with_line_numbers=True, start_line=999_998, end_line=1_000_001
    )
    piped = "cat -n \"$1\" | sed -n '999998,1000001p'"
    oracle = subprocess.run(["sh", "-c", piped, "sh", file], capture_output=True, check=True)
    assert told["content"].encode() == oracle.stdout
    assert told["lines"] == 4


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, 400_000])
def test_base64_returns_the_bytes(client: Client, file: Path, size: int) -> None:
    content = os.urandom(size)
    file.write_bytes(content)
    told = client.json(READ, path=file, encoding="base64")
    assert base64.b64decode(told["content"], validate=True) == content
    assert (told["encoding"], told["size"]) == ("base64", size)
    assert told["hash"] == hashlib.sha256(content).hexdigest()
    assert "lossy" not in told


def test_nul_is_refused_and_the_way_out_named(client: Client, file: Path) -> None:
    for content in (b"\0", b"a\nb\0c", b"a" * 300_000 + b"\0"):
        file.write_bytes(content)
        for encoding in (None, "utf-8"):
            told = client.failure("GET", READ, 400, query={"path": file, "encoding": encoding})
            assert "encoding=base64" in told["error"]
            assert "/files/raw" in told["error"]
            assert str(file) in told["error"]
        assert client.json(READ, path=file, encoding="base64")["size"] == len(content)


def test_nul_counts_only_in_the_lines_asked_for(client: Client, file: Path) -> None:
    file.write_bytes(b"a\n\0\nc\n")
    assert client.json(READ, path=file, end_line=1)["content"] == "a\n"
    assert client.json(READ, path=file, start_line=3)["content"] == "c\n"
    client.failure("GET", READ, 400, query={"path": file, "end_line": 2})


def test_large_files_come_out_whole(client: Client, file: Path) -> None:
    line = 'zażółć "gęślą" \U0001f600\t\\\n'
    content = (line * (3_000_000 // len(line.encode()))).encode()
    file.write_bytes(content)
    told = client.json(READ, path=file)
    assert told["content"].encode() == content
    assert told["hash"] == hashlib.sha256(content).hexdigest()
    assert "lossy" not in told
    file.write_bytes(content[1:] + b"\xff" + content)
    told = client.json(READ, path=file)
    assert told["content"] == file.read_bytes().decode("utf-8", "replace")
    assert told["lossy"] is True
    numbered = subprocess.run(["cat", "-n", file], capture_output=True, check=True).stdout
    told = client.json(READ, path=file, with_line_numbers=True)
    assert told["content"] == numbered.decode("utf-8", "replace")


# --- limits ----------------------------------------------------------------------------------


def test_what_is_over_the_limit_is_413_and_names_it(tmp_path: Path, file: Path) -> None:
    with serving(tmp_path / "server", "--content-bytes=1000") as target, target.client() as client:
        file.write_bytes(b"a" * 1000)
        assert client.json(READ, path=file)["size"] == 1000
        file.write_bytes(b"a" * 500 + b"\n" + b"a" * 500)
        for encoding in ("utf-8", "base64"):
            told = client.failure("GET", READ, 413, query={"path": file, "encoding": encoding})
            assert told["code"] == "too_large"
            for word in ("1000 bytes", "start_line", "/files/raw", str(file)):
                assert word in told["error"]
        assert client.json(READ, path=file, start_line=2)["content"] == "a" * 500
        told = client.failure("GET", READ, 413, query={"path": file, "start_line": 1})
        assert "1000 bytes" in told["error"]
        assert "/files/raw" in told["error"]


def test_the_limit_is_fifty_mib(client: Client, file: Path) -> None:
    with file.open("wb") as sink:
        sink.truncate(50 * 2**20 + 1)
    told = client.failure("GET", READ, 413, query={"path": file})
    assert "52428800" in told["error"]


def test_ranges_of_a_file_of_many_gigabytes(client: Client, file: Path) -> None:
    with file.open("wb") as sink:
        sink.write(b"one\ntwo\nthree\n")
        sink.truncate(2**42)
    began = time.monotonic()
    told = client.json(READ, path=file, start_line=2, end_line=3)
    assert (told["content"], told["size"]) == ("two\nthree\n", 2**42)
    # Reading four TiB takes an hour: this is no speed, it is whether they were read.
    assert time.monotonic() - began < 30
    told = client.failure("GET", READ, 400, query={"path": file, "start_line": 4})
    assert "NUL" in told["error"]


def server_reads(target: Target) -> int:
    lines = Path(f"/proc/{target.pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def test_a_client_that_goes_away_ends_the_scan(tmp_path: Path, file: Path) -> None:
    with file.open("wb") as sink:
        sink.truncate(2**42)
    with serving(tmp_path / "server") as target:
        with asking(target, f"{READ}?path={file}&start_line=2"):
            deadline, before = time.monotonic() + 20, server_reads(target)
            while server_reads(target) < before + 10 * 2**20:
                assert time.monotonic() < deadline, "the scan has not begun"
                time.sleep(0.01)  # a scan tells nobody
        deadline = time.monotonic() + 20
        while True:
            before = server_reads(target)
            time.sleep(0.1)  # long enough for a scan under way to read a lot
            if server_reads(target) - before < 2**20:
                break
            assert time.monotonic() < deadline, "the scan goes on"
        with target.client() as client:
            assert client.json("/health") == {"status": "ok"}


# --- what is no file -------------------------------------------------------------------------


def test_what_is_no_file_is_400_at_once(client: Client, tree: Path) -> None:
    places = [tree, trees.make_fifo(tree / "fifo"), trees.make_socket(tree / "socket")]
    for one in (tree / "fifo", Path("/dev/zero"), tree):
        link = tree / f"link{len(places)}"
        link.symlink_to(one)
        places.append(link)
    for place in [*places, Path("/dev/null"), Path("/dev/zero"), Path("/dev/ptmx")]:
        for query in ({}, {"start_line": 1}, {"encoding": "base64"}):
            told = client.failure("GET", READ, 400, query={"path": place, **query})
            assert str(place) in told["error"]
            assert ("GET /files lists it" in told["error"]) == place.is_dir()


def test_a_fifo_with_a_writer_loses_nothing(client: Client, tree: Path) -> None:
    fifo = trees.make_fifo(tree / "fifo")
    both = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(both, b"precious")
        client.failure("GET", READ, 400, query={"path": fifo})
        assert os.read(both, 100) == b"precious"
    finally:
        os.close(both)


def test_a_fifo_is_not_even_opened(client: Client, tree: Path) -> None:
    """Opening its other end would wake a writer that waits for a reader."""
    fifo = trees.make_fifo(tree / "fifo")
    client.failure("GET", READ, 400, query={"path": fifo})
    opened = threading.Event()

    def write() -> None:
        descriptor = os.open(fifo, os.O_WRONLY)
        opened.set()
        os.close(descriptor)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(5):
        client.failure("GET", READ, 400, query={"path": fifo})
    assert not opened.is_set()
    os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
    writer.join(10)
    assert opened.is_set()


def test_symlinks_are_followed(client: Client, tree: Path) -> None:
    trees.build(tree, {"real.txt": "content"})
    (tree / "link.md").symlink_to("real.txt")
    (tree / "dangling").symlink_to("nothing")
    (tree / "loop").symlink_to("loop")
    told = client.json(READ, path=tree / "link.md")
    assert (told["content"], told["path"], told["extension"]) == (
        "content",
        str(tree / "link.md"),
        ".md",
    )
    client.failure("GET", READ, 404, query={"path": tree / "dangling"})
    client.failure("GET", READ, 404, query={"path": tree / "nothing"})
    client.failure("GET", READ, 400, query={"path": tree / "loop"})
    client.failure("GET", READ, 400, query={"path": tree / "real.txt" / "x"})


PSEUDO = ("/proc/cpuinfo", "/proc/self/status", "/proc/filesystems", "/sys/kernel/mm/ksm/run")


@pytest.mark.parametrize("path", [one for one in PSEUDO if Path(one).exists()])
def test_files_without_a_true_size_are_read_to_their_end(client: Client, path: str) -> None:
    answer = client.get(READ, path=path)
    told = answer.json()
    assert told["size"] == len(told["content"].encode()) > 0
    assert told["hash"] == hashlib.sha256(told["content"].encode()).hexdigest()
    if path != "/proc/self/status":
        assert told["lines"] == len(Path(path).read_text().splitlines())
    # Nothing tells when they change, so nothing may say that they have not.
    assert "etag" not in answer.headers
    again = client.request("GET", READ, query={"path": path}, headers={"If-None-Match": "*"})
    assert again.status_code == 200


@pytest.mark.parametrize("path", ["/proc/self/mem", "/proc/kmsg", "/proc/1/environ", "/proc/kcore"])
def test_odd_files_are_no_server_error(client: Client, path: str) -> None:
    if Path(path).exists():
        assert client.get(READ, path=path, end_line=1).status_code < 500


# --- versions --------------------------------------------------------------------------------


def etag_of(path: Path) -> str:
    stat = path.stat()
    return f'"{stat.st_ino:x}-{stat.st_size:x}-{stat.st_mtime_ns:x}-{stat.st_ctime_ns:x}"'


def test_the_etag_is_made_of_inode_size_and_times(client: Client, file: Path) -> None:
    for content in ("", "a", "a" * 1_000_000):
        file.write_text(content)
        for query in ({}, {"start_line": 1}, {"encoding": "base64"}):
            answer = client.get(READ, path=file, **query)
            assert answer.headers["etag"] == etag_of(file)
            assert answer.headers["cache-control"] == "private, no-cache"


def test_what_the_client_has_is_not_sent_again(client: Client, file: Path) -> None:
    file.write_text("a")
    tag = etag_of(file)
    for value in (tag, f"W/{tag}", "*", f'"other", {tag}'):
        headers = {"If-None-Match": value}
        answer = client.request("GET", READ, query={"path": file}, headers=headers)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "content-length" not in answer.headers
    file.write_text("b")
    answer = client.request("GET", READ, query={"path": file}, headers={"If-None-Match": tag})
    assert answer.json()["content"] == "b"


def test_if_match_that_fails_is_412(client: Client, file: Path) -> None:
    file.write_text("a")
    headers = {"If-Match": '"other"'}
    told = client.failure("GET", READ, 412, query={"path": file}, headers=headers)
    assert told["code"] == "precondition_failed"
    headers = {"If-Match": etag_of(file)}
    assert client.request("GET", READ, query={"path": file}, headers=headers).status_code == 200


def test_failures_are_not_stored(client: Client, tree: Path) -> None:
    for path, status in ((tree / "nothing", 404), (tree, 400)):
        answer = client.get(READ, path=path)
        assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")


def test_head_has_the_headers_of_get(client: Client, file: Path) -> None:
    file.write_text("abc\n")
    get, head = (client.request(method, READ, query={"path": file}) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "cache-control", "last-modified"):
        assert head.headers[name] == get.headers[name]


# --- names and changes -----------------------------------------------------------------------

ODD_NAMES = (b"caf\xe9.txt", b"\xff", b"a\nb", b'"\\', b" ", b"%41", b"+&=#?", "żółw".encode())


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_legal_name_can_be_read(client: Client, tree: Path, name: bytes) -> None:
    path = os.fsencode(tree) + b"/" + name
    with open(path, "wb") as sink:
        sink.write(b"content")
    told = client.json(READ, path_b64=b64(path))
    assert told["content"] == "content"
    assert told["path"] == path.decode("utf-8", "replace")
    is_text = name.decode("utf-8", "replace").encode() == name
    assert told.get("path_b64") == (None if is_text else b64(path))
    if is_text:
        assert client.json(READ, path=path)["content"] == "content"


def test_a_file_that_grows_meanwhile_has_the_size_it_had(target: Target, file: Path) -> None:
    size = 20_000_000
    file.write_bytes(b"a" * size)
    _, body = taken_while(target, f"{READ}?path={file}", lambda: os.truncate(file, 2 * size))
    told = json.loads(dechunked(body))
    assert (told["size"], told["content"]) == (size, "a" * size)
    assert told["hash"] == hashlib.sha256(b"a" * size).hexdigest()


def test_a_file_that_shrinks_meanwhile_ends_the_answer_visibly(
    target: Target, client: Client, file: Path
) -> None:
    file.write_bytes(b"a" * 20_000_000)
    _, body = taken_while(target, f"{READ}?path={file}", lambda: os.truncate(file, 1000))
    with pytest.raises(ValueError, match="no last chunk"):
        dechunked(body)
    assert client.json(READ, path=file)["size"] == 1000

"""`GET /files/stat`: what one entry is, by `os.lstat`.

Source: wire contract, section 2, "Stat"; reference, "Stat".
"""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests import trees
from tests.client import Client, Json, b64

from hutch._native import rfc3339

STAT = "/files/stat"


def wanted(path: bytes) -> Json:
    """The documented fields, by `os.lstat`, and the ones beside them."""
    info = os.lstat(path)
    return trees.described(path) | {
        "success": True,
        "permissions": format(info.st_mode & 0o7777, "04o"),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "inode": info.st_ino,
        "links": info.st_nlink,
    }


def stat(client: Client, path: Path) -> Json:
    told = client.json(STAT, path=path)
    told.pop("etag", None)
    return told


def test_a_file_has_the_documented_fields(client: Client, tree: Path) -> None:
    file = tree / "main.go"
    file.write_text("package main\n")
    os.utime(file, (1, 1_736_937_000))
    told = stat(client, file)
    assert told == wanted(os.fsencode(file)) | {"is_code": True, "extension": ".go"}
    assert (told["modified"], told["permissions"]) == ("2025-01-15T10:30:00Z", "0644")


def test_a_symlink_is_not_followed(client: Client, tree: Path) -> None:
    (tree / "main.go").write_text("package main\n")
    for name, target in {"link": "main.go", "dangling": "nothing", "to dir": "."}.items():
        (tree / name).symlink_to(target)
        told = stat(client, tree / name)
        assert told == wanted(os.fsencode(tree / name)) | {"is_code": False}
        assert (told["type"], told["size"], told["permissions"]) == ("symlink", 0, "0777")
        assert told["symlink_target"] == target


@pytest.mark.parametrize("make", [trees.make_fifo, trees.make_socket, Path.mkdir])
def test_what_is_no_file(client: Client, tree: Path, make: object) -> None:
    path = tree / "x.py"
    make(path)  # type: ignore[operator]  # three makers of one argument
    told = stat(client, path)
    told.pop("extension", None)
    assert told == wanted(os.fsencode(path)) | {"is_code": False}


@pytest.mark.parametrize("path", ["/", "/dev/null", "/proc/self/status", "/etc"])
def test_what_every_machine_has(client: Client, path: str) -> None:
    told = stat(client, Path(path))
    told.pop("extension", None)
    if path == "/":
        assert told["name"] == "/"
    for key in ("type", "size", "permissions", "uid"):
        assert told[key] == wanted(path.encode())[key]


@pytest.mark.parametrize("mode", [0, 0o644, 0o755, 0o4755, 0o2755, 0o1777, 0o7777, 0o007])
def test_permissions_are_four_octal_digits(client: Client, tree: Path, mode: int) -> None:
    for path in (tree / "file", tree / "dir"):
        path.mkdir() if path.name == "dir" else path.touch()
        path.chmod(mode)
        told = stat(client, path)["permissions"]
        oracle = subprocess.run(["stat", "-c", "%a", path], capture_output=True, check=True)
        assert told == oracle.stdout.decode().strip().zfill(4)
        path.chmod(0o755)


TIMES = {
    0: "1970-01-01T00:00:00Z",
    -1: "1969-12-31T23:59:59Z",
    1_736_937_000_999_999_999: "2025-01-15T10:30:00Z",
    -(10**9) // 2: "1969-12-31T23:59:59Z",
    -(2**31) * 10**9: "1901-12-13T20:45:52Z",
    2**33 * 10**9: "2242-03-16T12:56:32Z",
}


@pytest.mark.parametrize("moment", TIMES)
def test_times_are_whole_seconds_rounded_down(client: Client, tree: Path, moment: int) -> None:
    file = tree / "file"
    file.touch()
    os.utime(file, ns=(0, moment))
    assert file.stat().st_mtime_ns == moment
    assert stat(client, file)["modified"] == TIMES[moment]


def test_times_that_rfc_3339_cannot_write() -> None:
    assert rfc3339(2**62) == "9999-12-31T23:59:59Z"
    assert rfc3339(-(2**62)) == "0000-01-01T00:00:00Z"
    moment = datetime(9999, 12, 31, tzinfo=UTC)
    assert rfc3339(int(moment.timestamp())) == "9999-12-31T00:00:00Z"


CODE = {
    "Dockerfile": (True, None),
    "a.PY": (True, ".PY"),
    "photo.png": (False, ".png"),
    ".bashrc": (True, None),
    "README": (False, None),
    "a.": (False, "."),
}


@pytest.mark.parametrize("name", CODE)
def test_code_and_extensions(client: Client, tree: Path, name: str) -> None:
    (tree / name).touch()
    told = stat(client, tree / name)
    assert (told["is_code"], told.get("extension")) == CODE[name]


def test_a_directory_has_no_extension(client: Client, tree: Path) -> None:
    (tree / "conf.d").mkdir()
    assert "extension" not in stat(client, tree / "conf.d")


def test_names_that_are_not_utf_8(client: Client, tree: Path) -> None:
    path = os.fsencode(tree) + b"/caf\xe9.py"
    os.symlink(b"\xff\xfe", path)
    told = client.json(STAT, path_b64=b64(path))
    assert told["name"] == "caf\ufffd.py"
    assert told["path_b64"] == b64(path)
    assert told["symlink_target"] == "\ufffd\ufffd"
    assert told["symlink_target_b64"] == b64(b"\xff\xfe")
    assert client.json(STAT, path_b64=told["path_b64"]) == told


def test_what_is_not_there(client: Client, tree: Path) -> None:
    (tree / "file").touch()
    cases = {"nothing": 404, "nothing/below": 404, "file/below": 400, "x" * 300: 400}
    for name, status in cases.items():
        told = client.failure("GET", STAT, status, query={"path": tree / name})
        assert name[:100] in told["error"]
    client.failure("GET", STAT, 400)


def test_the_etag_is_that_of_read(client: Client, tree: Path) -> None:
    file = tree / "file"
    file.write_text("a")
    tag = client.json(STAT, path=file)["etag"]
    assert tag == client.get("/files/read", path=file).headers["etag"]
    assert tag == client.get("/files/raw", path=file).headers["etag"]
    answer = client.get(STAT, path=file)
    assert answer.headers["cache-control"] == "no-store"


def test_paths_are_normalised_without_following_links(client: Client, tree: Path) -> None:
    (tree / "real" / "inner").mkdir(parents=True)
    (tree / "link").symlink_to("real/inner")
    told = stat(client, Path(f"{tree}//link/./../real/"))
    assert (told["path"], told["type"]) == (str(tree / "real"), "directory")

"""`GET` and `POST /files/search/init`: what is there, and getting it.

A server of the test's own hands out release archives, good ones and others. Source: wire
contract, section 3; reference, "Ripgrep status" and "Install ripgrep".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import platform
import shutil
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests import searching, trees
from tests.client import Client, Json
from tests.serving import Target, serving
from tests.watching import wait_until

RELEASE = {"x86_64": "x86_64-unknown-linux-musl", "aarch64": "aarch64-unknown-linux-gnu"}
NAME = f"ripgrep-14.1.1-{RELEASE.get(platform.machine(), 'none')}"


def archive(program: bytes, *, name: str = f"{NAME}/rg", kind: bytes = tarfile.REGTYPE) -> bytes:
    """A release: the program beside what else such an archive holds."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, content, type_ in (
            (f"{NAME}/doc/rg.1", b"manual", tarfile.REGTYPE),
            (f"{NAME}/complete", b"", tarfile.DIRTYPE),
            (name, program, kind),
        ):
            member = tarfile.TarInfo(path)
            member.type, member.size, member.linkname = type_, len(content), "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


GOOD = archive(Path(searching.REAL).read_bytes())


@dataclass
class Releases:
    """What the other side answers, and what it was asked."""

    body: bytes = GOOD
    status: int = 200
    length: int | None = None
    redirect: bool = False
    asked: list[str] = field(default_factory=list)
    # Set: the rest of the body may leave.
    go: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        if self.redirect and not handler.path.startswith("/elsewhere"):
            handler.send_response(302)
            handler.send_header("Location", f"http://127.0.0.1:{self.port}/elsewhere")
            handler.end_headers()
            return
        handler.send_response(self.status)
        handler.send_header("Content-Length", str(self.length or len(self.body)))
        handler.end_headers()
        half = len(self.body) // 2
        handler.wfile.write(self.body[:half])
        handler.wfile.flush()
        self.go.wait(20)
        handler.wfile.write(self.body[half:])


@pytest.fixture
def releases() -> Iterator[Releases]:
    told = Releases()
    told.go.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                told.answer(self)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield told
        finally:
            told.go.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def target(tmp_path: Path, releases: Releases) -> Iterator[Target]:
    """A server without a ripgrep, with a short patience."""
    url = f"http://127.0.0.1:{releases.port}/releases/"
    with serving(
        tmp_path / "own", f"--ripgrep-url={url}", "--download-idle-seconds=2",
        environment={"PATH": "/nowhere", "no_proxy": "*"},
    ) as one:  # fmt: skip
        yield one


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    with target.client() as one:
        yield one


@pytest.fixture
def place(target: Target) -> Path:
    """Where it is installed."""
    return target.state_dir.parent / "bin"


def install(client: Client, **body: object) -> Json:
    answer = client.request("POST", "/files/search/init", body=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def status(client: Client) -> Json:
    return client.json("/files/search/init")


def nothing_left(target: Target, place: Path) -> bool:
    others = {"lock", "pending", "bin", "instance", "cgroup", "exec-journal", "tasks", "terminals"}
    rest = {one.name for one in target.state_dir.iterdir()} - others
    return (
        not any(place.iterdir()) and not rest and not any((target.state_dir / "pending").iterdir())
    )


def test_without_one_the_status_says_so(client: Client) -> None:
    told = status(client)
    assert (told["success"], told["installed"]) == (True, False)
    assert told["message"].startswith(
        "ripgrep is not installed - use POST /files/search/init to install"
    )


def test_with_one_it_says_which(tmp_path: Path) -> None:
    with serving(tmp_path / "s") as target, target.client() as client:
        path = shutil.which("rg")
        told = status(client)
        assert told["path"] == path
        assert told["version"].startswith("ripgrep 1")
        assert told["installed"] is True
        # Already there: nothing is downloaded.
        assert install(client) == told


def test_a_release_is_installed_and_used(
    client: Client, target: Target, place: Path, releases: Releases, tree: Path
) -> None:
    trees.build(tree, {"a": "word\n"})
    client.failure("GET", "/files/search", 503, query={"q": "word", "path": tree})
    told = install(client, sha256=sha256(GOOD))
    assert (told["success"], told["installed"]) == (True, True)
    assert told["path"] == str(place / "rg")
    assert told["version"].startswith("ripgrep ")
    assert releases.asked == [f"/releases/14.1.1/{NAME}.tar.gz"]
    assert (place / "rg").read_bytes() == Path(searching.REAL).read_bytes()
    assert (place / "rg").stat().st_mode & 0o7777 == 0o755
    assert status(client) == told
    assert client.json("/files/search", q="word", path=tree)["total_matches"] == 1
    (place / "rg").unlink()
    assert nothing_left(target, place)


def test_a_redirect_is_followed(client: Client, place: Path, releases: Releases) -> None:
    releases.redirect = True
    assert install(client, sha256=sha256(GOOD).upper())["installed"] is True
    assert releases.asked[-1] == "/elsewhere"
    assert (place / "rg").exists()


def test_another_version_is_asked_for_by_name(client: Client, releases: Releases) -> None:
    told = client.failure("POST", "/files/search/init", 400, body={"version": "13.0.0"})
    assert told["error"].startswith("sha256:")
    install(client, version="13.0.0", sha256=sha256(GOOD))
    assert releases.asked == [f"/releases/13.0.0/{NAME.replace('14.1.1', '13.0.0')}.tar.gz"]


def test_the_query_is_taken_too(client: Client, releases: Releases) -> None:
    answer = client.request("POST", "/files/search/init", query={"sha256": sha256(GOOD)})
    assert answer.json()["installed"] is True


def test_where_the_first_directory_cannot_be_written_the_state_directory_is_taken(
    tmp_path: Path, releases: Releases
) -> None:
    (tmp_path / "file").touch()
    url = f"http://127.0.0.1:{releases.port}"
    for directory in (tmp_path / "file" / "below", tmp_path / "missing"):
        own = tmp_path / f"own-{directory.name}"
        options = (f"--ripgrep-url={url}", f"--ripgrep-dir={directory}")
        with serving(own, *options, environment={"PATH": "/nowhere", "no_proxy": "*"}) as target:
            with target.client() as client:
                told = install(client, sha256=sha256(GOOD))
                assert told["path"] == str(target.state_dir / "bin" / "rg")
                assert status(client) == told


TRUNCATED = GOOD[: len(GOOD) // 2]
BROKEN: dict[str, tuple[Releases, str, str]] = {
    "404": (Releases(status=404), sha256(GOOD), "404"),
    "500": (Releases(status=500), sha256(GOOD), "500"),
    "a wrong hash": (Releases(), "0" * 64, sha256(GOOD)),
    "cut off": (Releases(body=TRUNCATED, length=len(GOOD)), sha256(GOOD), "14.1.1"),
    "a truncated archive": (Releases(body=TRUNCATED), sha256(TRUNCATED), "archive"),
    "no archive": (Releases(body=b"hello"), sha256(b"hello"), "archive"),
    "garbage, packed": (
        Releases(body=gzip.compress(b"x" * 2000)), sha256(gzip.compress(b"x" * 2000)), "14.1.1",
    ),
}  # fmt: skip
for _what, _body in {
    "without the program": archive(b"x", name=f"{NAME}/other"),
    "a link": archive(b"", kind=tarfile.SYMTYPE),
    "a program that is none": archive(b"#!/bin/sh\necho hello\n"),
    "a program that cannot run": archive(b"\x7fELF"),
}.items():
    BROKEN[_what] = (Releases(body=_body), sha256(_body), "rg")


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_download_is_502_and_leaves_nothing(
    client: Client, target: Target, place: Path, releases: Releases, name: str
) -> None:
    other, digest, word = BROKEN[name]
    releases.body, releases.status, releases.length = other.body, other.status, other.length
    told = client.failure("POST", "/files/search/init", 502, body={"sha256": digest})
    assert told["code"] == "bad_gateway"
    assert word in told["error"]
    assert nothing_left(target, place)
    assert status(client)["installed"] is False
    # And it can be tried again.
    releases.body, releases.status, releases.length = GOOD, 200, None
    assert install(client, sha256=sha256(GOOD))["installed"] is True


def test_a_stalled_download_is_given_up(
    client: Client, target: Target, place: Path, releases: Releases
) -> None:
    releases.go.clear()
    told = client.failure("POST", "/files/search/init", 502, body={"sha256": sha256(GOOD)})
    assert "2 s" in told["error"]
    assert nothing_left(target, place)


def test_nobody_there_is_502(tmp_path: Path) -> None:
    with serving(tmp_path / "s", environment={"PATH": "/nowhere", "no_proxy": "*"}) as target:
        with target.client() as client:
            told = client.failure("POST", "/files/search/init", 502)
            assert "127.0.0.1:9" in told["error"]


def test_the_known_release_is_held_to_its_hash(client: Client, place: Path) -> None:
    told = client.failure("POST", "/files/search/init", 502)
    assert "SHA-256" in told["error"]
    assert not any(place.iterdir())


def test_progress_is_shown_and_a_second_one_is_409(
    target: Target, client: Client, releases: Releases
) -> None:
    releases.go.clear()
    done: list[Json] = []

    def first() -> None:
        with target.client() as other:
            done.append(install(other, sha256=sha256(GOOD)))

    thread = threading.Thread(target=first)
    thread.start()
    try:
        wait_until(lambda: status(client).get("installing", {}).get("received_bytes", 0) > 0)
        told = status(client)["installing"]
        assert (told["version"], told["stage"]) == ("14.1.1", "downloading")
        assert 0 < told["received_bytes"] < told["total_bytes"] == len(GOOD)
        refused = client.failure("POST", "/files/search/init", 409)
        assert refused["code"] == "conflict"
    finally:
        releases.go.set()
        thread.join()
    assert done[0]["installed"] is True
    assert "installing" not in status(client)


def test_one_that_is_too_large_is_refused(tmp_path: Path, releases: Releases) -> None:
    url = f"http://127.0.0.1:{releases.port}"
    options = (f"--ripgrep-url={url}", "--download-bytes=100000")
    with serving(
        tmp_path / "s", *options, environment={"PATH": "/nowhere", "no_proxy": "*"}
    ) as one:
        with one.client() as client:
            body = {"sha256": sha256(GOOD)}
            assert "100000" in client.failure("POST", "/files/search/init", 502, body=body)["error"]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"version": "latest"}, "version"),
        ({"version": "../../x"}, "version"),
        ({"version": "14.1"}, "version"),
        ({"version": 14}, "version"),
        ({"version": ""}, "version"),
        ({"sha256": "x" * 64}, "sha256"),
        ({"sha256": "abc"}, "sha256"),
        ({"version": "14.1.0"}, "sha256"),
    ],
)
def test_bad_input_is_400_and_named(
    client: Client, body: Json, name: str, releases: Releases
) -> None:
    told = client.failure("POST", "/files/search/init", 400, body=body)
    assert told["error"].startswith(name)
    assert releases.asked == []


def test_an_installation_that_was_cut_leaves_nothing_at_the_next_one(
    client: Client, target: Target, place: Path
) -> None:
    left = target.state_dir / "ripgrep"
    left.mkdir()
    (left / "archive").write_bytes(b"half")
    install(client, sha256=sha256(GOOD))
    assert not left.exists()
    assert os.listdir(place) == ["rg"]

"""`hutch serve` as a process: what no client may do to it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.server.site import post, resident_kib
from tests.server.test_websocket import upgrade
from tests.serving import Target, serving

READERS = 40
LEFT = 8


@pytest.fixture(scope="module")
def big_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree whose listing is larger than all buffers on the way: some 12 MB."""
    tree = tmp_path_factory.mktemp("big")
    for number in range(20_000):
        (tree / f"{number}-{'x' * 200}").touch()
    return tree


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with serving(tmp_path_factory.mktemp("server")) as one:
        yield one


def connect(target: Target, *, stalls: bool = False) -> socket.socket:
    made = socket.socket()
    if stalls:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(10)
    made.connect(("127.0.0.1", target.port))
    return made


def read_all(client: socket.socket) -> bytes:
    data = b""
    try:
        while more := client.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


def eventually(holds: Callable[[], bool], *, seconds: float = 15.0) -> None:
    """Waits for something that tells nobody when it comes about."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.02)


def sockets_of(target: Target) -> int:
    found = 0
    for one in os.listdir(f"/proc/{target.pid}/fd"):
        try:
            found += os.readlink(f"/proc/{target.pid}/fd/{one}").startswith("socket:")
        except FileNotFoundError:
            continue
    return found


# Each of these ended Hypercorn's process, or spoke a protocol that was not asked for.
TRAPS = {
    "an upgrade followed by one byte": upgrade() + b"\x81",
    "extensions that are not ASCII": upgrade("Sec-WebSocket-Extensions: \xff"),
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    "HTTP/2 with a broken frame": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
    "h2c": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: ????\r\n\r\n",
    "nonsense": b"\0\xff\r\n\r\n",
}


@pytest.mark.parametrize("raw", TRAPS.values(), ids=TRAPS)
def test_the_process_lives(served: Target, raw: bytes) -> None:
    with connect(served) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 40")
    with served.client(token="") as other:
        assert other.http.get("/health").status_code == 200
    assert "Traceback" not in served.log.read_text()


def known(target: Target, line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request with the token."""
    lines = (f"{line} HTTP/1.1", "Host: a", f"Authorization: Bearer {target.token}", *headers)
    return "\r\n".join((*lines, "", "")).encode() + body


SOCKET = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
CHUNKED = "Transfer-Encoding: chunked"
# What a client with the token may get wrong.
BAD_INPUT: dict[str, tuple[str, tuple[str, ...], bytes]] = {
    "no JSON": ("POST /files/write", ("Content-Length: 4",), b"nope"),
    "a body that is shorter than told": ("POST /exec", ("Content-Length: 99",), b"{"),
    "a broken chunk": ("PUT /files/raw?path=/tmp/hutch-none/a", (CHUNKED,), b"zz\r\n"),
    "no archive": (
        "POST /files/transfer/upload?dest=/proc/nowhere", ("Content-Length: 3",), b"abc"
    ),
    "a proxied request to nobody": ("GET /proxy/1/", (), b""),
    "a frame that is none": ("GET /ws", SOCKET, b"\xff" * 64),
    "a frame without a mask": ("GET /ws", SOCKET, b"\x82\x02ab"),
    "text that is not UTF-8": ("GET /ws", SOCKET, b"\x81\x82\0\0\0\0\xff\xfe"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "headers", "body"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_leaves_one_line_in_the_log_at_most(
    served: Target, line: str, headers: tuple[str, ...], body: bytes
) -> None:
    before = len(served.log.read_text().splitlines())

    def grown() -> list[str]:
        return served.log.read_text().splitlines()[before:]

    with connect(served) as client:
        client.sendall(known(served, line, *headers, body=body))
        client.shutdown(socket.SHUT_WR)
        read_all(client)
    with served.client() as other:
        other.http.get("/asked-last")
    eventually(lambda: any("/asked-last" in one for one in grown()))
    assert len(grown()) <= 2, grown()


def test_a_401_reaches_a_client_that_is_still_sending(served: Target) -> None:
    with connect(served) as client:
        client.sendall(post("/files", b"x" * 900_000))
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_the_access_log_shows_no_token(served: Target) -> None:
    with served.client() as client:
        client.http.get(f"/health?token={served.token}")
    eventually(lambda: '"route":"/health"' in served.log.read_text())
    assert served.token not in served.log.read_text()


def _stall(target: Target, tree: Path) -> socket.socket:
    client = connect(target, stalls=True)
    client.sendall(
        f"GET /files/stream?path={tree}&use_gitignore=false HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {target.token}\r\n\r\n".encode()
    )
    return client


def test_stalled_readers_slow_nobody_cost_little_and_go(tmp_path: Path, big_tree: Path) -> None:
    """The promise, at a smaller scale: the longest-stalled go, the rest stay."""
    options = (f"--stalled-responses={LEFT}", "--stalled-grace-seconds=3")
    with serving(tmp_path, *options) as target, ExitStack() as clients:
        # Counted before the client's first call, which opens a connection that closes soon.
        idle = sockets_of(target) + 1
        with target.client() as client:
            client.json("/files/stat", path=str(big_tree))
            before = resident_kib(target.pid)
            for _ in range(READERS):
                clients.enter_context(_stall(target, big_tree))
            eventually(lambda: sockets_of(target) >= idle + READERS)
            client.json("/files/stat", path=str(big_tree))  # others are served
            each = (resident_kib(target.pid) - before) / READERS
            eventually(lambda: sockets_of(target) <= idle + LEFT)
            time.sleep(1.0)
            assert sockets_of(target) == idle + LEFT
        assert "Traceback" not in target.log.read_text()
        # Walk buffers, at most 64 MiB together, are counted here too.
        assert each < 2 * 1024


def threads_of(target: Target) -> int:
    return len(os.listdir(f"/proc/{target.pid}/task"))


@pytest.mark.slow
def test_five_hundred_stalled_readers(tmp_path: Path, big_tree: Path) -> None:
    """The promise at its own scale and with its own deadlines."""
    with serving(tmp_path) as target, ExitStack() as clients:
        idle = sockets_of(target) + 1
        client = clients.enter_context(target.client())
        for _ in range(3):  # threads and buffers that stay are there from now on
            client.entries(path=str(big_tree), use_gitignore=False)
        threads = threads_of(target)
        for _ in range(500):
            clients.enter_context(_stall(target, big_tree))
        begun = time.monotonic()
        eventually(lambda: sockets_of(target) >= idle + 500)
        client.json("/files/stat", path=str(big_tree))
        eventually(lambda: threads_of(target) <= threads)
        eventually(lambda: sockets_of(target) <= idle + 64, seconds=36)
        assert time.monotonic() - begun > 29  # those that stall go early, not at once
        time.sleep(5)
        assert sockets_of(target) == idle + 64
        client.json("/files/stat", path=str(big_tree))
        assert "Traceback" not in target.log.read_text()


def test_sigterm_ends_it_whatever_clients_do(tmp_path: Path, big_tree: Path) -> None:
    with serving(tmp_path, "--grace-seconds=0.5") as target, ExitStack() as clients:
        for _ in range(10):
            clients.enter_context(_stall(target, big_tree))
        for raw in (b"GET / HT", b"", post("/files", b"x" * 100)[:-50], upgrade()):
            client = clients.enter_context(connect(target))
            client.sendall(raw)
        time.sleep(0.2)
        os.kill(target.pid, signal.SIGTERM)
        eventually(lambda: not Path(f"/proc/{target.pid}/fd/0").exists(), seconds=10)
        assert "Traceback" not in target.log.read_text()

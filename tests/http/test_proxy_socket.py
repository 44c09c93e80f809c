"""WebSockets through `/proxy`: the `websockets` package on both ends, which holds every frame to
RFC 6455 and negotiates permessage-deflate.

Source: wire contract, section 8.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.serving import Target
from tests.sockets import memory_kib
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

MIB = 2**20
SECOND, THIRD = Subprotocol("b"), Subprotocol("c")
PIECE = bytes(range(256)) * 1024  # 256 KiB


def handle(socket: ServerConnection) -> None:
    """An application: by its path it echoes, counts, floods, or closes."""
    request = socket.request
    assert request is not None
    match request.path.partition("?")[0]:
        case "/echo":
            for message in socket:
                socket.send(message)
        case "/fragments":
            for fragments in iter(lambda: list(socket.recv_streaming()), None):
                socket.send(str([len(one) for one in fragments]))
        case "/digest":
            _digest(socket)
        case "/flood":
            size = int(socket.recv())
            socket.send(PIECE for _ in range(size // len(PIECE)))
        case "/close":
            socket.close(4321, "żółć")


def _digest(socket: ServerConnection) -> None:
    """Of one message, however large, as it comes."""
    digest, size = hashlib.sha256(), 0
    for fragment in socket.recv_streaming():
        digest.update(fragment if isinstance(fragment, bytes) else fragment.encode())
        size += len(fragment)
    socket.send(f"{size} {digest.hexdigest()}")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serve(handle, "127.0.0.1", 0, max_size=None, subprotocols=[SECOND, THIRD]) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


@dataclass
class Way:
    """How clients get to the application."""

    target: Target
    port: int

    @contextmanager
    def __call__(self, path: str, **options: Any) -> Iterator[ClientConnection]:
        url = f"ws://127.0.0.1:{self.target.port}/proxy{path}"
        query = f"?token={self.target.token}&x_oblien_target={self.port}"
        options = {"subprotocols": [SECOND], **options}
        with connect(url + query, max_size=None, **options) as socket:
            yield socket


@pytest.fixture
def way(target: Target, port: int) -> Way:
    return Way(target, port)


MESSAGES: list[str | bytes] = [
    "",
    "a",
    "żółć",
    b"",
    b"\0\xff",
    "x" * 125,
    b"x" * 126,
    b"x" * 65536,
    "y" * 5_000_000,
]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_come_back_as_they_were(way: Way, compression: str | None) -> None:
    with way("/echo", compression=compression) as socket:
        assert bool(socket.protocol.extensions) == (compression is not None)
        for message in MESSAGES:
            socket.send(message)
            assert socket.recv() == message


def test_fragments_pass_one_by_one(way: Way) -> None:
    with way("/fragments", compression=None) as socket:
        socket.send(["a", "bc", "", "def"])
        assert socket.recv() == "[1, 2, 0, 3, 0]"


def test_pings_are_the_applications_to_answer(way: Way) -> None:
    with way("/echo", compression=None) as socket:
        for payload in (b"", b"x" * 125):
            assert socket.ping(payload).wait(10)


def test_subprotocols_are_the_applications_to_choose(way: Way) -> None:
    with way("/echo", subprotocols=[Subprotocol("a"), THIRD]) as socket:
        assert socket.subprotocol == THIRD


def test_codes_and_reasons_pass_both_ways(way: Way) -> None:
    with way("/close") as socket:
        with pytest.raises(ConnectionClosed) as told:
            socket.recv()
        assert told.value.rcvd is not None
        assert (told.value.rcvd.code, told.value.rcvd.reason) == (4321, "żółć")
    with way("/echo") as socket:
        socket.close(4000, "bye")
        assert (socket.close_code, socket.close_reason) == (4000, "bye")


def test_an_applications_refusal_passes(target: Target, port: int) -> None:
    """Asked for a subprotocol that is none, it refuses by itself."""
    url = f"ws://127.0.0.1:{target.port}/proxy/{port}/echo?token={target.token}"
    with pytest.raises(InvalidStatus) as told:
        connect(url, subprotocols=[Subprotocol("z")]).__enter__()
    assert told.value.response.status_code == 400
    assert b"subprotocol" in (told.value.response.body or b"")


def carry(way: Way, size: int) -> None:
    """One message of `size` bytes each way; the runtime holds next to nothing of it."""
    digest = hashlib.sha256()
    for _ in range(size // len(PIECE)):
        digest.update(PIECE)
    before = memory_kib(way.target)
    most = before
    with way("/digest", compression=None) as socket:
        socket.send(PIECE for _ in range(size // len(PIECE)))
        assert socket.recv(timeout=600) == f"{size} {digest.hexdigest()}"
    most = max(most, memory_kib(way.target))
    found = hashlib.sha256()
    with way("/flood", compression=None, max_queue=4) as socket:
        socket.send(str(size))
        for count, fragment in enumerate(socket.recv_streaming()):
            found.update(fragment)  # type: ignore[arg-type]  # bytes, all of them
            if count % 100 == 0:
                most = max(most, memory_kib(way.target))
    assert found.digest() == digest.digest()
    assert most - before < 24 * 1024, f"{before} KiB before, {most} KiB at most"


def test_a_message_has_no_limit_and_costs_no_memory(way: Way) -> None:
    carry(way, 48 * MIB)


@pytest.mark.slow
def test_a_gigabyte_each_way(way: Way) -> None:
    carry(way, 1024 * MIB)

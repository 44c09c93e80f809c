"""Requests over a bare socket, for tests that must act while an answer is under way.

Belongs here: sending one request, taking its answer apart. Banned here: knowledge of single
endpoints; and use where the shared client can do it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serving import Target

_BUFFER = 65536


@contextmanager
def asking(target: Target, path: str) -> Iterator[socket.socket]:
    """A GET under way, the client's buffer kept small so that the server cannot run ahead."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=60) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        one.sendall(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            f"Authorization: Bearer {target.token}\r\n\r\n".encode()
        )
        yield one


@contextmanager
def posting(target: Target, path: str, body: object) -> Iterator[socket.socket]:
    """A POST under way, of which nobody reads the answer."""
    raw = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", target.port), timeout=60) as one:
        one.sendall(
            f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {target.token}\r\n"
            f"Content-Length: {len(raw)}\r\n\r\n".encode()
            + raw
        )
        yield one


def taken_while(target: Target, path: str, change: Callable[[], None]) -> tuple[bytes, bytes]:
    """Head and body of an answer; `change` happens once its first bytes are there."""
    with asking(target, path) as one:
        taken = one.recv(1000)
        change()
        while piece := one.recv(1 << 20):
            taken += piece
    head, _, body = taken.partition(b"\r\n\r\n")
    return head, body


def dechunked(body: bytes) -> bytes:
    """The content of a chunked body. Raises ValueError where its last chunk is missing."""
    parts: list[bytes] = []
    rest = body
    while rest:
        length, _, rest = rest.partition(b"\r\n")
        size = int(length, 16)
        if size == 0:
            return b"".join(parts)
        parts.append(rest[:size])
        rest = rest[size + 2 :]
    raise ValueError("no last chunk")


def memory_kib(target: Target) -> int:
    """Resident memory of the server."""
    status = Path(f"/proc/{target.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

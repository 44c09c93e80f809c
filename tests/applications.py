"""Applications of the workspace as bare sockets, and whoever asks them by the byte.

Belongs here: an application that keeps what it got, one that tells it; sending a request,
directly or through the runtime; taking an answer apart. Banned here: what is to be true.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.serving import Target
from tests.sockets import dechunked

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class App:
    """An application that answers every request, and keeps the heads that it got.

    `answer` is what it says, or what it does with its connection once a request is there whole.
    """

    port: int
    answer: bytes | Callable[[socket.socket, Request], None] = OK
    heads: list[bytes] = field(default_factory=list)

    @property
    def head(self) -> bytes:
        """The one request's head."""
        (one,) = self.heads
        self.heads.clear()
        return one

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n")[0]


@dataclass(frozen=True)
class Request:
    """A request as it came: its head, its content, its trailers."""

    head: bytes
    body: bytes
    trailers: bytes


class _Reader:
    def __init__(self, connected: socket.socket) -> None:
        self._connected = connected
        self._rest = b""

    def until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._more()
        end = self._rest.index(mark) + len(mark)
        found, self._rest = self._rest[:end], self._rest[end:]
        return found

    def exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._more()
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _more(self) -> None:
        data = self._connected.recv(65536)
        if not data:
            raise ConnectionError
        self._rest += data

    def request(self) -> Request:
        head = self.until(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return Request(head, self.exactly(int(line.split(b":")[1])), b"")
            if line.startswith(b"transfer-encoding:"):
                return Request(head, *self._chunks())
        return Request(head, b"", b"")

    def _chunks(self) -> tuple[bytes, bytes]:
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            body += self.exactly(size + 2)[:-2]
        trailers = b""
        while (line := self.until(b"\r\n")) != b"\r\n":
            trailers += line
        return body, trailers


def _serve(app: App, listener: socket.socket) -> None:
    while True:
        try:
            connected, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(app, connected), daemon=True).start()


def _answer(app: App, connected: socket.socket) -> None:
    with connected, contextlib.suppress(OSError):
        connected.settimeout(30)
        request = _Reader(connected).request()
        app.heads.append(request.head)
        if callable(app.answer):
            app.answer(connected, request)
        else:
            connected.sendall(app.answer)


@contextlib.contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[App]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        app = App(listener.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(app, listener), daemon=True)
        thread.start()
        yield app
        listener.shutdown(socket.SHUT_RDWR)


@dataclass
class Answer:
    status: int
    head: bytes
    body: bytes

    @property
    def failure(self) -> dict[str, object]:
        return dict(json.loads(self.body))

    def header(self, name: bytes) -> list[bytes]:
        lines = [line.partition(b": ") for line in self.head.split(b"\r\n")[1:]]
        return [value for one, _, value in lines if one.lower() == name.lower()]


def ask(target: Target, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
    lines = [f"{method} {path} HTTP/1.1", "Host: my.host:1234", "Connection: close"]
    lines += [f"Authorization: Bearer {target.token}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return send(target, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)


def send(target: Target, raw: bytes) -> Answer:
    with socket.create_connection(("127.0.0.1", target.port), timeout=30) as one:
        one.sendall(raw)
        got = b""
        while piece := one.recv(1 << 20):
            got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        body = dechunked(body)
    return Answer(status, head, body)

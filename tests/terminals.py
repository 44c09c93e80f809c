"""Words for tests of terminals: opening one, a WebSocket client of `/ws`, reading frames.

Belongs here: what several files of tests need. Banned here: what is expected of it.
"""

from __future__ import annotations

import base64
import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tests.client import Client, Json
from tests.serving import Target

SECONDS = 20.0
# A terminal that changes no byte, and says so once it does.
RAW = "stty raw -echo; echo ready; "


def opened(client: Client, cmd: object = None, /, status: int = 201, **body: Any) -> Json:
    """A new terminal."""
    if cmd is not None:
        body["cmd"] = cmd
    answer = client.request("POST", "/terminals", body=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def closed(client: Client, identifier: object) -> None:
    answer = client.request("DELETE", f"/terminals/{identifier}")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"success": True, "terminal_id": str(identifier)}


@contextmanager
def terminal(client: Client, cmd: object = None, /, **body: Any) -> Iterator[Json]:
    """A terminal that is closed in the end, unless the test did so."""
    one = opened(client, cmd, **body)
    try:
        yield one
    finally:
        client.request("DELETE", f"/terminals/{one['id']}")


class RefusedError(Exception):
    """The handshake was answered otherwise than by 101."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


class ClosedError(Exception):
    """The server closed the socket."""

    def __init__(self, code: int, reason: str | None = None) -> None:
        super().__init__(code, reason)
        self.code = code


class Ws:
    """A client of `/ws`, reading when it is told to.

    `output` holds what came of each terminal, `texts` every text frame, in order.
    """

    def __init__(
        self,
        port: int,
        path: str = "/ws",
        *,
        headers: dict[str, str] | None = None,
        buffer: int | None = None,
    ) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.frames = WSConnection(ConnectionType.CLIENT)
        self.output: dict[int, bytearray] = {}
        self.texts: list[Json] = []
        # Where something is missing in a terminal's output, and how much.
        self.gaps: dict[int, list[tuple[int, int]]] = {}
        # Every frame in its order: a terminal's number, or a text frame.
        self.order: list[int | Json] = []
        self._partial: Any = None
        self._waiting: list[Event] = []
        request = Request(
            host=f"127.0.0.1:{port}",
            target=path,
            extra_headers=[(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        )
        self.socket.sendall(self.frames.send(request))
        self._shake()

    def _shake(self) -> None:
        status, body = 0, b""
        while True:
            for event in self._events():
                match event:
                    case AcceptConnection():
                        # What came with it.
                        self._waiting = list(self.frames.events())
                        return
                    case RejectConnection(status_code=code):
                        status = code
                    case RejectData(data=data, body_finished=finished):
                        body += data
                        if finished:
                            raise RefusedError(status, json.loads(body))

    def _events(self) -> Iterator[Event]:
        data = self.socket.recv(1 << 18)
        self.frames.receive_data(data or None)
        return self.frames.events()

    # --- to the server ------------------------------------------------------------------------

    def type(self, identifier: object, data: bytes | str) -> None:
        raw = data.encode() if isinstance(data, str) else data
        self.binary(bytes((int(str(identifier)),)) + raw)

    def binary(self, data: bytes) -> None:
        self.socket.sendall(self.frames.send(BytesMessage(data=data)))

    def text(self, text: str) -> None:
        self.socket.sendall(self.frames.send(TextMessage(data=text)))

    def send(self, **frame: object) -> None:
        self.text(json.dumps(frame))

    def resize(self, identifier: object, cols: object, rows: object) -> None:
        self.send(channel="terminal", type="resize", id=identifier, cols=cols, rows=rows)

    # --- from the server ----------------------------------------------------------------------

    def read(self) -> None:
        """Takes what comes next. Raises `ClosedError`."""
        events, self._waiting = self._waiting, []
        for event in events or self._events():
            match event:
                case BytesMessage(data=data, message_finished=finished):
                    self._partial = (self._partial or b"") + bytes(data)
                    if finished:
                        whole, self._partial = self._partial, None
                        self.output.setdefault(whole[0], bytearray()).extend(whole[1:])
                        self.order.append(whole[0])
                case TextMessage(data=text, message_finished=finished):
                    self._partial = (self._partial or "") + text
                    if finished:
                        frame, self._partial = json.loads(self._partial), None
                        self.texts.append(frame)
                        self.order.append(frame)
                        if frame["type"] == "gap":
                            number = int(frame["id"])
                            gap = (len(self.of(number)), frame["skipped"])
                            self.gaps.setdefault(number, []).append(gap)
                case Ping():
                    self.socket.sendall(self.frames.send(event.response()))
                case CloseConnection(code=code, reason=reason):
                    if self.frames.state is ConnectionState.REMOTE_CLOSING:
                        self.socket.sendall(self.frames.send(event.response()))
                    raise ClosedError(int(code), reason)

    def until(self, condition: Callable[[], Any], *, seconds: float = SECONDS) -> Any:
        """Reads until it holds; gives what the condition gave."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            left = deadline - time.monotonic()
            assert left > 0, f"it did not come to be; texts {self.texts[-5:]}"
            if self._waiting or select.select([self.socket], [], [], min(left, 0.05))[0]:
                self.read()
        return found

    def of(self, identifier: object) -> bytes:
        """What came of a terminal so far."""
        return bytes(self.output.get(int(str(identifier)), b""))

    def until_seen(self, identifier: object, wanted: bytes, *, seconds: float = SECONDS) -> bytes:
        """Reads until a terminal's output has these bytes; all of its output."""
        number = int(str(identifier))
        self.until(lambda: wanted in self.output.get(number, b""), seconds=seconds)
        return self.of(identifier)

    def until_size(self, identifier: object, size: int) -> None:
        """Reads until a terminal has sent so many bytes."""
        self.until(lambda: len(self.of(identifier)) >= size)

    def settle(self) -> None:
        """Reads until nothing has come for a while: a program that redraws says no more."""
        while self._waiting or select.select([self.socket], [], [], 0.3)[0]:
            self.read()

    def told(self, **fields: object) -> list[Json]:
        """The text frames with these fields."""
        return [one for one in self.texts if fields.items() <= one.items()]

    def until_told(self, *, seconds: float = SECONDS, **fields: object) -> Json:
        """Reads until such a text frame comes; the first of them."""
        self.until(lambda: self.told(**fields), seconds=seconds)
        return self.told(**fields)[0]

    def until_exit(self, identifier: object, *, seconds: float = SECONDS) -> int:
        """Reads until a terminal has ended; its code."""
        frame = self.until_told(
            channel="terminal", type="exit", id=str(identifier), seconds=seconds
        )
        return int(frame["code"])

    def until_closed(self, *, seconds: float = SECONDS) -> int:
        """Reads until the server closes; the code."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.read()
            except ClosedError as closed:
                return closed.code
            except OSError:
                return 1006
        raise AssertionError("it was not closed")

    def goodbye(self) -> None:
        """Sends a close frame."""
        self.socket.sendall(self.frames.send(CloseConnection(code=1000)))

    def close(self) -> None:
        self.socket.close()


@contextmanager
def connected(target: Target, **rest: Any) -> Iterator[Ws]:
    """A client with the token, `hello` not read yet."""
    headers = {"Authorization": f"Bearer {target.token}", **rest.pop("headers", {})}
    ws = Ws(target.port, headers=headers, **rest)
    try:
        yield ws
    finally:
        ws.close()


def scrollback(client: Client, identifier: object, **query: object) -> bytes:
    """The ring of a terminal, or the end of it."""
    told = client.json(f"/terminals/{identifier}/scrollback", **query)
    raw = base64.b64decode(told["scrollback"])
    assert told["size"] == len(raw)
    assert told["content"] == raw.decode("utf-8", "replace")
    return raw


def has_ended(client: Client, identifier: object) -> bool:
    return not client.json(f"/terminals/{identifier}/scrollback", bytes=0)["alive"]

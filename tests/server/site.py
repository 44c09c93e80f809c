"""What the tests of the server speak with: raw bytes to an application on a port.

Belongs here: starting `hutch.server.serve`, sending bytes, reading answers, small applications.
Banned here: what is to be true.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio
import trio.testing

from hutch.server import Running, ServerConfig, Tls, serve
from hutch.wire.config import Limits

Application = Callable[[Any, Any, Any], Awaitable[None]]

# Long enough for a loaded machine, and never waited for where the server is right.
PATIENCE = 10.0

# Where production has seconds. A test that wants a deadline to pass shortens that one alone.
CALM = Limits(drain_seconds=0.3, grace_seconds=0.3)


@dataclass
class Answer:
    """One HTTP answer as it came."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def failure(self) -> dict[str, Any]:
        """The error body, which must be whole, with the id that the header has."""
        found = dict(json.loads(self.body))
        assert found["success"] is False and found["error"], found
        assert found["request_id"] == self.headers[b"x-request-id"].decode()
        return found


class Wire:
    """A client's end of one connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.rest = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def some(self) -> bytes:
        """What comes next; b"" at the end, a reset counts as one."""
        with trio.fail_after(PATIENCE):
            if self.rest:
                data, self.rest = self.rest, b""
                return data
            try:
                return bytes(await self.stream.receive_some())
            except trio.BrokenResourceError:
                return b""

    async def until(self, mark: bytes) -> bytes:
        """Up to and including `mark`; fails where the connection ends first."""
        data = b""
        while mark not in data:
            more = await self.some()
            assert more, f"closed before {mark!r}: {data[-500:]!r}"
            data += more
        end = data.index(mark) + len(mark)
        self.rest = data[end:]
        return data[:end]

    async def exactly(self, size: int) -> bytes:
        data, self.rest = self.rest, b""
        while len(data) < size:
            more = await self.some()
            assert more, f"closed after {len(data)} of {size} bytes"
            data += more
        self.rest = data[size:]
        return data[:size]

    async def all(self) -> bytes:
        """Everything until the connection ends."""
        data = b""
        while more := await self.some():
            data += more
        return data

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """The next answer, whole."""
        head = (await self.until(b"\r\n\r\n"))[:-4].split(b"\r\n")
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(b": ")
            headers[name.lower()] = value
        status = int(head[0].split()[1])
        body = b"" if bodiless else await self._body(headers)
        return Answer(status, headers, body)

    async def _body(self, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding") != b"chunked":
            return await self.exactly(int(headers.get(b"content-length", b"0")))
        body = b""
        while size := int(await self.until(b"\r\n"), 16):
            body += (await self.exactly(size + 2))[:-2]
        await self.until(b"\r\n")
        return body

    async def closed(self) -> None:
        """The server closes, and says nothing more."""
        assert await self.all() == b""


@dataclass
class Server:
    """A server under test."""

    url: str
    shutdown: trio.Event
    ended: trio.Event
    wires: list[Wire] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def connect(self, *, receive_buffer: int | None = None) -> Wire:
        """A connection of a client; with a small buffer of its own for one that stalls."""
        made = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await made.connect(("127.0.0.1", self.port))
        wire = Wire(trio.SocketStream(made))
        self.wires.append(wire)
        return wire

    async def ask(self, raw: bytes) -> Answer:
        """One request on a connection of its own."""
        wire = await self.connect()
        await wire.send(raw)
        answer = await wire.answer()
        await wire.stream.aclose()
        return answer

    async def stop(self) -> None:
        self.shutdown.set()
        with trio.fail_after(PATIENCE):
            await self.ended.wait()

    async def lives(self) -> None:
        """The server still answers a stranger."""
        assert (await self.ask(get("/alive"))).body == b"hello"


class Site:
    """Servers of one test; what they leave behind fails it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._servers: list[Server] = []
        self._idle_tasks = 0

    async def serve(self, app: Application, *, tls: Tls | None = None, **limits: Any) -> Server:
        shutdown, ended = trio.Event(), trio.Event()
        config = ServerConfig(host="127.0.0.1", port=0, limits=replace(CALM, **limits), tls=tls)

        async def run(*, task_status: trio.TaskStatus[Running]) -> None:
            await serve(app, config, shutdown=shutdown, task_status=task_status)
            ended.set()

        running: Running = await self._nursery.start(run)
        await trio.testing.wait_all_tasks_blocked()
        self._idle_tasks = _tasks()
        server = Server(running.url, shutdown, ended)
        self._servers.append(server)
        return server

    async def close(self) -> None:
        """With all clients gone, no task may be left of their connections; then the end."""
        for one in self._servers:
            for wire in one.wires:
                await wire.stream.aclose()
        if self._servers:
            await eventually(lambda: _tasks() <= self._idle_tasks, "a connection's task is left")
        for one in self._servers:
            await one.stop()


def _tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: hutch", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: hutch", *headers, f"Content-Length: {len(body)}"]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def begun(path: str, size: int, body: bytes = b"abc") -> bytes:
    """The start of a request that says it has `size` bytes."""
    return b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (
        path.encode(),
        size,
        body,
    )


def http_only(handler: Application) -> Application:
    """An application that answers lifespan, and `/alive`, by itself."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/alive":
            await reply(send)
            return
        if scope["type"] != "lifespan":
            await handler(scope, receive, send)
            return
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    return app


async def reply(send: Any, body: bytes = b"hello", status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@http_only
async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await reply(send)


@http_only
async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body, then answers with it."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    await reply(send, body)


@asynccontextmanager
async def still_descriptors() -> AsyncIterator[None]:
    """As many descriptors are open afterwards as before."""
    before = _descriptors()
    yield
    await eventually(lambda: _descriptors() <= before, f"more than {before} descriptors are open")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def eventually(holds: Callable[[], bool], otherwise: str) -> None:
    """Polls: what the kernel does tells nobody."""
    with trio.move_on_after(PATIENCE):
        while not holds():  # noqa: ASYNC110  # as it says
            await trio.sleep(0.005)
        return
    raise AssertionError(otherwise)


def resident_kib(pid: int | str = "self") -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")

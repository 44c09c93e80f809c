"""What the tests of `hutch.forward` speak with: a client, a relay, and an upstream by the byte.

Belongs here: an application that passes on whatever it gets, upstreams that say exactly what a
test wants. Banned here: what is to be true.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from hutch.forward import Ending, Forwarder, Head, Headers, Pool, Upstream
from hutch.forward.heads import replaced
from hutch.server.answers import respond_failure
from hutch.server.streaming import Exchange
from hutch.wire.config import KeepLimits, Limits
from hutch.wire.errors import Failure
from tests.server.site import PATIENCE, Server, Site, eventually, http_only


class Peer:
    """The upstream's end of one connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.rest = b""

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
        data = b""
        while mark not in data:
            more = await self.some()
            assert more, f"closed before {mark!r}: {data[-500:]!r}"
            data += more
        end = data.index(mark) + len(mark)
        self.rest = data[end:]
        return data[:end]

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self.some()
            assert more, f"closed after {len(data)} of {size} bytes"
            data += more
        self.rest = data[size:]
        return data[:size]

    async def all(self) -> bytes:
        data = b""
        while more := await self.some():
            data += more
        return data

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    def reset(self) -> None:
        """Ends with RST."""
        option = b"\1\0\0\0\0\0\0\0"
        self.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, option)
        self.stream.socket.close()


Script = Callable[[Peer], Awaitable[None]]


def says(answer: bytes) -> Script:
    """An upstream that reads a head and says this, then closes."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Same:
    """An edit that changes nothing but the host."""

    host: bytes

    def request(self, head: Head) -> Head:
        return Head(head.method, head.target, replaced(head.headers, b"Host", self.host))

    def answer(self, _status: int, headers: Headers) -> Headers:
        return headers


@dataclass
class Relay:
    """A server whose application passes everything on."""

    site: Site
    nursery: trio.Nursery
    ending: Ending = field(default_factory=Ending)
    dialled: int = 0
    peers: list[Peer] = field(default_factory=list)
    pool: Pool = field(default_factory=lambda: Pool(KeepLimits()))
    keeps: bool = False
    done: trio.Event = field(default_factory=trio.Event)
    _listeners: list[trio.SocketListener] = field(default_factory=list)

    async def upstream(self, script: Script) -> int:
        """Listens with a script for each connection; its port."""

        async def handle(stream: trio.SocketStream) -> None:
            self.dialled += 1
            peer = Peer(stream)
            self.peers.append(peer)
            try:
                await script(peer)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                with trio.CancelScope(shield=True):
                    await stream.aclose()

        serve = functools.partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        (listener,) = await self.nursery.start(serve)
        self._listeners.append(listener)
        port: int = listener.socket.getsockname()[1]
        return port

    async def to(self, upstream: Script | int, **limits: Any) -> Server:
        """The server that passes on to this upstream, or to whatever is at a port."""
        port = upstream if isinstance(upstream, int) else await self.upstream(upstream)
        return await self.site.serve(self._app(port, Limits(**limits)), **limits)

    async def keeps_idle(self, count: int) -> None:
        """As many connections are idle; the client has its answer a moment earlier."""
        await eventually(lambda: len(self.pool) == count, f"{len(self.pool)} are idle")

    def _app(self, port: int, limits: Limits) -> Any:
        forwarder = Forwarder(limits, kept=self.pool if self.keeps else None)
        target = Upstream(name=f"port {port}", addresses=(("127.0.0.1", port),), key=port)
        edit = Same(b"up:%d" % port)

        @http_only
        async def app(scope: Any, receive: Any, send: Any) -> None:
            exchange = Exchange(scope, receive, send)
            try:
                await forwarder.carry(exchange, target, edit, ending=self.ending)
            except Failure as failure:
                await respond_failure(exchange, failure)
            finally:
                self.done.set()

        return app

    def close(self) -> None:
        for one in self._listeners:
            one.socket.close()
        self.nursery.cancel_scope.cancel()

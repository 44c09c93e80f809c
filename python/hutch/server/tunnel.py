"""The raw connection of a WebSocket's handshake, for an application that takes it.

Belongs here: `Tunnel`, which lies in `scope["extensions"]["hutch.tunnel"]` of every WebSocket. An
application that passes the socket on to another server takes it, instead of accepting it by ASGI
messages, and from then on nobody else reads: bytes as they come, no frames, no pings, no limit of
a message. Deadlines and stall rules of the transport hold as ever. Banned here: what the bytes
mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import trio

from hutch.server.exchange import HttpExchange
from hutch.server.transport import Transport

TUNNEL: Final = "hutch.tunnel"
"""The name of the extension."""

_PIECE_BYTES: Final = 256 * 1024


class Tunnel:
    """The client's side. `closing` fires when the server shuts down."""

    def __init__(
        self,
        transport: Transport,
        http: HttpExchange,
        closing: trio.Event,
        on_take: Callable[[], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._http = http
        self._on_take = on_take
        self.closing = closing
        self.taken = False
        self.switched = False

    async def take(self) -> None:
        """The socket is the caller's from here on: he alone reads. Nothing was read before.

        Until `switch` he may still refuse, by ASGI's `websocket.http.response.start`.
        """
        self.taken = True
        self._http.note_authenticated()
        await self._on_take()

    async def switch(self, headers: Iterable[tuple[bytes, bytes]], *, reason: bytes) -> None:
        """Answers 101 with exactly these headers. Raises `ClientGone`."""
        self.switched = True
        await self._http.switch(headers, forwarded=reason)

    async def receive(self) -> bytes:
        """What comes next; b"" once the client sends no more, or left (`is_lost`)."""
        return await self._transport.receive(_PIECE_BYTES)

    async def wait_gone(self) -> None:
        """Before `switch`: returns when the client has left, or said what nobody may say yet.

        RFC 6455, section 4.1: a client waits for the answer to its handshake.
        """
        await self._transport.receive()
        self._http.gone = True

    @property
    def is_lost(self) -> bool:
        """Whether the client has reset the connection: it takes nothing more either."""
        return self._transport.is_lost

    async def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Sends all of it, as `Transport.send` does. Raises `ClientGone`."""
        await self._transport.send(pieces)
        self._http.sent += sum(map(len, pieces))

    async def end_sending(self) -> None:
        """Tells the client that nothing more comes; it may go on sending. Raises `ClientGone`."""
        await self._transport.end_sending()

    def reset(self) -> None:
        """Cuts the connection, so that nobody takes what came for the whole."""
        self._transport.reset()


class Stoppable:
    """One task that can be stopped from another, which goes on once it has stopped."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` until it ends or is stopped."""
        try:
            with self._scope:
                await work()
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Cancels it, and waits."""
        self._scope.cancel()
        await self._stopped.wait()

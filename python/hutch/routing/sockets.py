"""One WebSocket, as its handler has it.

Belongs here: messages over Quart's socket, and what Quart leaves open. Banned here: endpoints.

Quart ends a handler as soon as it hears that the client has left, with messages in its queue that
nobody has read, and fills that queue whether anybody reads or not. So it is given a message only
when the handler asks for one, and at most one waits. A handler that was sending when its client
left is ended too; what the client sent before is then had by `rest`.
"""

from __future__ import annotations

from typing import Any, Final

import trio
from quart import Websocket

from hutch.server.streaming import Exchange, Message

# It is there, or will not come: this only ends the wait where the client has not left.
_REST_SECONDS: Final = 0.5


class Socket:
    """Both sides of one socket: `receive` and `send` for its handler, `feed` for Quart."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._wanted = trio.Semaphore(0)
        self._is_connected = False
        self._feeding = trio.Lock()
        # What Quart has and the handler has not.
        self._given: Message | None = None
        self._websocket: Websocket | None = None

    async def feed(self) -> Message:
        """ASGI's `receive`: a message once the handler wants one."""
        if self._is_connected:
            await self._wanted.acquire()
        self._is_connected = True
        async with self._feeding:
            message = await self._exchange.receive()
            self._given = message if message["type"] == "websocket.receive" else None
            return message

    async def accept(self, carrier: Any) -> None:
        """Lets the client in; from here on it is a socket."""
        self._websocket = carrier
        await carrier.accept()

    async def receive(self) -> bytes | str | None:
        """The next message; None for an empty binary one. Cancelled when the client leaves."""
        self._wanted.release()
        message: bytes | str | None = await self._carrier.receive()
        self._given = None
        return message

    async def rest(self) -> list[bytes | str]:
        """For a handler that is being cancelled: what the client had sent before it left."""
        found: list[bytes | str] = []
        with trio.CancelScope(shield=True) as patience:
            patience.deadline = trio.current_time() + _REST_SECONDS
            async with self._feeding:
                message = self._given or await self._exchange.receive()
                while message["type"] == "websocket.receive":
                    found.append(message.get("bytes") or message.get("text") or b"")
                    patience.deadline = trio.current_time() + _REST_SECONDS
                    message = await self._exchange.receive()
        return found

    async def send(self, message: bytes | str) -> None:
        """Sends a message; returns when the kernel has it."""
        await self._carrier.send(message)

    async def close(self, code: int, reason: str = "") -> None:
        """Closes with a code of RFC 6455, section 7.4."""
        await self._carrier.close(code, reason)

    async def wait_room(self, idle_seconds: float) -> bool:
        """Waits until the client takes more; False where it takes nothing for so long.

        Under a server that has no such extension it is always True: `send` waits then.
        """
        wait = self._exchange.scope.get("extensions", {}).get("hutch.room")
        return True if wait is None else bool(await wait(idle_seconds))

    @property
    def _carrier(self) -> Websocket:
        assert self._websocket is not None  # noqa: S101  # accepted before the handler runs
        return self._websocket

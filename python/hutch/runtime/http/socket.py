"""`/ws`: all terminals and watchers on one WebSocket.

Belongs here: one connection, its reader, its writer and its outbox. Banned here: what a terminal
or a watcher is, and which bytes of a terminal come next (`runtime.terminals.listener`).

The reader never waits for the client to take something while there is room in the outbox, and
never waits for a terminal for longer than `terminal_input_seconds`: input for which a terminal has
no room is refused with an `error` frame that says so, all of it or nothing, so that nothing is lost
in silence and other terminals on this connection go on. The writer sends one frame at a time, once
the client takes more. Output is not queued here: it lies in the terminals, once for all clients.
Source: wire contract, section 7; reference, "Terminal Sessions", "WebSocket".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import trio

from hutch.routing.sockets import Socket
from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.runtime.terminals.listener import Listener
from hutch.wire.errors import Failure
from hutch.wire.terminals import BadFrameError, Input, error_frame, hello_frame, read_frame

_TRY_AGAIN_LATER: Final = 1013


class Outbox:
    """Text frames that wait to be sent, bounded in bytes."""

    def __init__(self, most: int, wake: Callable[[], None]) -> None:
        self._most = most
        self._wake = wake
        self._frames: deque[tuple[str, int]] = deque()
        self._size = 0
        self._taken = trio.lowlevel.ParkingLot()

    def put(self, frame: str) -> None:
        """Adds a frame, however full it is."""
        size = len(frame.encode())
        self._frames.append((frame, size))
        self._size += size
        self._wake()

    def offer(self, frame: bytes) -> bool:
        """Adds a frame where there is room; whether there was."""
        if self._size >= self._most:
            return False
        self.put(frame.decode())
        return True

    async def until_room(self) -> None:
        """Waits while it is full."""
        while self._size >= self._most:
            await self._taken.park()

    def take(self) -> str | None:
        """The oldest frame."""
        if not self._frames:
            return None
        frame, size = self._frames.popleft()
        self._size -= size
        self._taken.unpark_all()
        return frame


class Connection:
    """One client, from hello to its end."""

    def __init__(self, runtime: Runtime, socket: Socket) -> None:
        self._runtime = runtime
        self._limits = runtime.config.limits
        self._terminals = runtime.terminals
        self._socket = socket
        self._woken = trio.Event()
        self._outbox = Outbox(self._limits.socket_outbox_bytes, self._wake)
        self._is_outbox_next = True

    async def run(self) -> None:
        """Returns when the client was sent away; cancelled when it leaves by itself."""
        hello = hello_frame(
            version=self._runtime.info.version,
            protocol_version=self._runtime.info.protocol_version,
            instance=self._runtime.instance,
        )
        with ExitStack() as stack:
            # Without a wait in between: what is there is told once, here or as it comes.
            listener = stack.enter_context(self._terminals.listening(self._wake))
            self._listen_to_watchers(stack)
            await self._socket.send(hello)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                await self._write(listener)
                nursery.cancel_scope.cancel()

    def _listen_to_watchers(self, stack: ExitStack) -> None:
        for frame in stack.enter_context(self._runtime.watchers.listening(self._outbox.offer)):
            self._outbox.put(frame.decode())

    # --- from the client ----------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                if message is not None:
                    await self._take(message)
                await self._outbox.until_room()
        except trio.Cancelled:
            with trio.CancelScope(shield=True) as last:
                last.deadline = trio.current_time() + self._limits.drain_seconds
                for left in await self._socket.rest():
                    await self._take(left)
            raise

    async def _take(self, message: bytes | str) -> None:
        try:
            frame = read_frame(message)
            if isinstance(frame, Input):
                await self._terminals.type(frame.id, frame.data)
            else:
                self._terminals.resize(str(frame.id), frame.cols, frame.rows)
        except BadFrameError as error:
            self._outbox.put(error_frame(error.channel, error.sentence))
        except Failure as failure:
            told = {"code": failure.code, "id": str(frame.id), **failure.extra}
            self._outbox.put(error_frame("terminal", failure.message, **told))

    # --- to the client ------------------------------------------------------------------------

    def _wake(self) -> None:
        self._woken.set()

    async def _write(self, listener: Listener) -> None:
        while True:
            self._woken = trio.Event()
            frame = self._next(listener)
            if frame is None:
                with trio.move_on_at(listener.due):
                    await self._woken.wait()
                continue
            if not await self._socket.wait_room(self._limits.socket_idle_seconds):
                seconds = self._limits.socket_idle_seconds
                await self._socket.close(_TRY_AGAIN_LATER, f"nothing was taken for {seconds:g} s")
                return
            await self._socket.send(frame)

    def _next(self, listener: Listener) -> bytes | str | None:
        """The next frame: what was there when the client came, then both sorts in turns."""
        now = trio.current_time()
        if listener.is_replaying:
            return listener.next(now)
        self._is_outbox_next = not self._is_outbox_next
        if self._is_outbox_next:
            return listener.next(now) or self._outbox.take()
        return self._outbox.take() or listener.next(now)


async def connect(runtime: Runtime, _call: Call[None], socket: Socket) -> None:
    """One client of all terminals and watchers."""
    await Connection(runtime, socket).run()


ROUTES = (
    Route(
        method="GET",
        path="/ws",
        kind="socket",
        handler=connect,
        summary="Terminals and watchers on one WebSocket",
        status=101,
    ),
)

"""One accepted socket: receive, send with whatever the client takes, close.

Belongs here: system calls on a connection and how long a send may wait. Banned here: what the
bytes mean. Sockets are plain non-blocking ones and waited for by Trio's epoll, without a
stream or a task in between: a call that need not wait does not.

A message that went out in part must never be followed by another: where a send was cancelled or
failed half-way, every later one raises.
"""

from __future__ import annotations

import fcntl
import math
import socket
import struct
import termios
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

from hutch.server.gone import ClientGone
from hutch.server.stalls import Stalls

RECEIVE_BYTES: Final = 64 * 1024
# IOV_MAX: of more the kernel says that the message is too long. A head or trailers are one a line.
MOST_PIECES: Final = 1024
_LOOK_SECONDS: Final = 1.0
# Any socket holds this much beside another frame.
_LITTLE: Final = 8 * 1024
# More than pings and pongs alone leave with the kernel.
_OF_PINGS: Final = 512
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: on, 0 s
_ESTABLISHED: Final = 1  # TCP_ESTABLISHED, first byte of struct tcp_info
_CLOSED: Final = 7  # TCP_CLOSE


class Transport:
    """A connection's socket, owned: whoever made it must `close` it."""

    def __init__(self, connected: socket.socket, stalls: Stalls) -> None:
        self._socket = connected
        self._stalls = stalls
        self._open = True
        self._partial = False
        self._was_reset = False
        self._said_end = False
        self._given = 0
        # When `takes` was last asked: whether something waited, and how much had been taken.
        self._seen = (False, 0)

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it on this side."""
        return self._open

    async def begin(self) -> None:
        """What has to be said before the first request: nothing. Raises `ClientGone`."""

    async def receive(self, most: int = RECEIVE_BYTES) -> bytes:
        """What has arrived, at most `most` bytes; b"" once the client sends no more, or left.

        Safe to cancel. Does not checkpoint where bytes are there already.
        """
        return await self._take(most)

    async def _take(self, most: int) -> bytes:
        """What the socket has."""
        while self._open:
            try:
                return self._socket.recv(most)
            except BlockingIOError:
                pass
            except OSError:
                self._was_reset = True
                return b""  # it left
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                break
        return b""

    async def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Sends all pieces. Every byte that the client takes renews the deadline.

        Does not checkpoint where the socket takes all at once. Raises `ClientGone` where the
        client left, took nothing for too long, or an earlier send stopped half-way.
        """
        self._require_whole()
        rest = self._send_now(pieces)
        if not rest:
            return
        self._partial = True
        while rest:
            await self._until_taken()
            rest = self._send_now(rest)
        self._partial = False

    def _require_whole(self) -> None:
        self._require_open()
        if self._partial:
            raise ClientGone("an earlier message went out in part")

    def _require_open(self) -> None:
        if not self._open:
            raise ClientGone("the connection is closed")

    def _send_now(self, pieces: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
        try:
            taken = self._socket.sendmsg(pieces[:MOST_PIECES])
        except BlockingIOError:
            return pieces
        except OSError as error:
            raise ClientGone(f"the client left: {error.strerror}") from None
        self._given += taken
        return rest_of(pieces, taken)

    async def _until_taken(self) -> None:
        """Waits until the socket takes more. Raises `ClientGone` after too long without a byte."""
        if await self._is_writable_soon():
            return
        held = self._held()
        while True:
            with self._stalls.waiting() as scope:
                while (still := self._held()) >= held:
                    if await self._is_writable_soon():
                        return
            if scope.cancelled_caught:
                self.reset()
                raise ClientGone("the client takes nothing")
            held = still

    def has_room(self) -> bool:
        """Whether the kernel holds so little that a socket certainly takes more."""
        return not self._open or self._held() <= _LITTLE

    def takes(self) -> bool:
        """Whether the client took something of what waited for it when this was last asked.

        A sign of life of a slow one, whose answer to a ping comes after all that is before it.
        What it takes of pings alone is none: its kernel does that.
        """
        if not self._open:
            return False
        held = self._held()
        (waited, before), taken = self._seen, self._given - held
        self._seen = (held > _OF_PINGS, taken)
        return waited and taken > before

    async def wait_room(self, idle_seconds: float) -> bool:
        """Waits until the socket takes more; False after `idle_seconds` without a byte taken.

        True as well where the connection is closed: the next send tells.
        """
        try:
            return await self._wait_room(idle_seconds)
        except ClientGone:
            return True

    async def _wait_room(self, idle_seconds: float) -> bool:
        held = self._held()
        deadline = trio.current_time() + idle_seconds
        while not await self._is_writable_soon(deadline - trio.current_time()):
            still = self._held()
            if still < held:
                deadline = trio.current_time() + idle_seconds
            elif trio.current_time() >= deadline:
                return False
            held = still
        return True

    async def _is_writable_soon(self, seconds: float = math.inf) -> bool:
        # A socket is writable only when a third of its buffer is free, and that may be
        # megabytes. So now and then `_until_taken` looks at what the kernel still holds:
        # that is how a slow reader is told from one that takes nothing.
        self._require_open()
        with trio.move_on_after(max(min(self._stalls.look_seconds, seconds), 0)):
            try:
                await trio.lowlevel.wait_writable(self._socket)
            except trio.ClosedResourceError:
                raise ClientGone("the connection is closed") from None
            return True
        return False

    def _held(self) -> int:
        """Bytes that the kernel has and the client has not acknowledged."""
        self._require_open()
        answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        return int.from_bytes(answer, "little")

    async def wait_gone(self) -> None:
        """Returns when the client has gone, while bytes that nobody may read yet are waiting.

        epoll cannot tell: the socket is readable all the time. The state of TCP is looked at
        once a second.
        """
        while self.is_established():  # noqa: ASYNC110  # nobody tells
            await trio.sleep(_LOOK_SECONDS)

    async def finish(self, *, seconds: float, most: int) -> None:
        """Sends FIN, takes what still comes (for `seconds`, at most `most` bytes), closes.

        A socket closed over unread bytes resets, and the client may lose the answer that it
        was sent (RFC 9112, section 9.6).
        """
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        with trio.move_on_after(seconds):
            while most > 0 and (data := await self._take(RECEIVE_BYTES)):
                most -= len(data)
                await trio.lowlevel.checkpoint()
        self.close()

    async def end_sending(self) -> None:
        """Sends FIN; what the client sends is still received."""
        if self._open:
            self._said_end = True
            with suppress(OSError):  # it left
                self._socket.shutdown(socket.SHUT_WR)

    def is_established(self) -> bool:
        """Whether the client has neither closed nor left, whatever of its bytes nobody has read."""
        return self._open and _tcp_state(self._socket) in (_ESTABLISHED, None)

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be sent any more: reset by the client, or closed."""
        if not self._open or self._was_reset:
            return True
        # With both ends closed in order the kernel calls it closed too.
        return not self._said_end and _tcp_state(self._socket) == _CLOSED

    def reset(self) -> None:
        """Closes with RST: frees the kernel's buffers, and tells that the answer is broken."""
        if self._open:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close()

    def close(self) -> None:
        """Closes; whoever waits for the socket is woken and finds it closed."""
        if self._open:
            self._open = False
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


def rest_of(pieces: Sequence[bytes | memoryview], taken: int) -> Sequence[bytes | memoryview]:
    """What is left of `pieces` after `taken` bytes, without copying."""
    for index, piece in enumerate(pieces):
        if taken < len(piece):
            return [memoryview(piece)[taken:], *pieces[index + 1 :]]
        taken -= len(piece)
    return ()


def _tcp_state(connected: socket.socket) -> int | None:
    if connected.family == socket.AF_UNIX:
        return None
    return connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

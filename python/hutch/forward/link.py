"""A connection to an upstream: dialled, sent to, received from, closed.

Belongs here: system calls on that socket, and how long they wait. Banned here: what the bytes
mean. As in `hutch.server.transport`, sockets are plain non-blocking ones.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import struct
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from hutch.forward.failures import Broken, Silent, unreachable, unreachable_in_time
from hutch.server.gone import ClientGone
from hutch.server.transport import MOST_PIECES, rest_of
from hutch.wire.errors import from_os_error

_PIECE_BYTES: Final = 256 * 1024
_LOOK_SECONDS: Final = 1.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@dataclass(frozen=True, slots=True)
class Upstream:
    """Whom a request is passed on to.

    `addresses` are IP addresses with ports, tried in order; nothing is ever resolved. `name` is
    how failures call it. `key` says which connections may be used again (None: none may).
    """

    name: str
    addresses: tuple[tuple[str, int], ...]
    key: Hashable | None = None


async def dial(upstream: Upstream, *, seconds: float, idle_seconds: float) -> Link:
    """A new connection to the first address that accepts.

    Raises `Failure`: bad_gateway where all refuse, timeout after `seconds`, unavailable where
    this machine is out of descriptors.
    """
    why = ""
    with trio.move_on_after(seconds):
        for address in upstream.addresses:
            try:
                return Link(await _connected(address), idle_seconds)
            except OSError as error:
                if error.errno in _OURS:
                    raise from_os_error(error, path=upstream.name) from None
                # The first counts: a machine without IPv6 says so of every port.
                why = why or (error.strerror or str(error)).lower()
        raise unreachable(upstream.name, why or "no address")
    raise unreachable_in_time(upstream.name, seconds)


async def _connected(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        result = made.connect_ex(address)
        if result == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(made)
            result = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if result == 0 and made.getsockname() == made.getpeername():
            # Nobody listens, and the kernel chose that very port for our end of the connection.
            result = errno.ECONNREFUSED
        _require_connected(result)
    except BaseException:
        made.close()
        raise
    return made


def _require_connected(result: int) -> None:
    if result == errno.ECONNREFUSED:
        raise OSError(result, "nothing listens there")
    if result:
        raise OSError(result, os.strerror(result))


class Link:
    """One connection to an upstream, owned: whoever has it must `close` it."""

    def __init__(self, connected: socket.socket, idle_seconds: float) -> None:
        self._socket = connected
        self._idle_seconds = idle_seconds
        self._open = True
        self.moved = trio.current_time()  # when the last byte did
        self.has_sent = False

    def forget(self) -> None:
        """A new request begins: nothing of it was sent."""
        self.has_sent = False

    def be_patient(self) -> None:
        """From here on silence is no fault."""
        self._idle_seconds = math.inf

    async def receive(self) -> bytes:
        """What has arrived; b"" at the end. Raises `Broken` (reset), `Silent`.

        Safe to cancel. Does not checkpoint where bytes are there already.
        """
        while True:
            try:
                data = self._socket.recv(_PIECE_BYTES)
            except BlockingIOError:
                await self._until_readable()
                continue
            except OSError as error:
                raise Broken(f"the connection broke: {error.strerror}") from None
            self.moved = trio.current_time()
            return data

    async def _until_readable(self) -> None:
        since = trio.current_time()
        while True:
            # What is sent meanwhile counts too: a long upload is no silence.
            deadline = max(since, self.moved) + self._idle_seconds
            if trio.current_time() >= deadline:
                raise Silent(self._idle_seconds)
            with trio.CancelScope(deadline=deadline):
                await trio.lowlevel.wait_readable(self._socket)
                return

    async def send(
        self, pieces: Sequence[bytes | memoryview], *, is_wanted: Callable[[], bool]
    ) -> None:
        """Sends all of it. Raises `Broken`; `ClientGone` once nobody `is_wanted` it any more.

        Does not checkpoint where the socket takes all at once. Has no deadline of its own:
        `receive`, in another task, has it.
        """
        rest = [one for one in pieces if one]
        while rest:
            try:
                taken = self._socket.sendmsg(rest[:MOST_PIECES])
            except BlockingIOError:
                await self._until_writable(is_wanted)
                continue
            except OSError as error:
                raise Broken(f"the connection broke: {error.strerror}") from None
            self.moved = trio.current_time()
            self.has_sent = True
            rest = list(rest_of(rest, taken))

    async def _until_writable(self, is_wanted: Callable[[], bool]) -> None:
        while True:
            with trio.move_on_after(_LOOK_SECONDS):
                await trio.lowlevel.wait_writable(self._socket)
                return
            # While nothing is taken, nothing is read of the client, nor that it left.
            if not is_wanted():
                raise ClientGone("the client left in the middle of its request body")

    def end_sending(self) -> None:
        """Sends FIN; what the upstream sends is still received."""
        with suppress(OSError):  # it left
            self._socket.shutdown(socket.SHUT_WR)

    def is_quiet(self) -> bool:
        """Whether an idle connection can be used again: open, and nothing has come of it."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def reset(self) -> None:
        """Closes with RST: the upstream must not take what it got for the whole."""
        if self._open:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close()

    def close(self) -> None:
        """Closes; more than once does no harm."""
        if self._open:
            self._open = False
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

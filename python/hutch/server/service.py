"""What all connections of one server share.

Belongs here: `Service`, the record that a connection is given, and `Idle`. Banned here: behaviour
of a connection, and the accept loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from hutch.server.census import Census
from hutch.server.figures import RequestFigures
from hutch.server.stalls import Stalls
from hutch.server.tls import Tls
from hutch.wire.config import ServerLimits, SocketLimits

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class Idle:
    """The connections that wait for a request, each with what has come of it."""

    def __init__(self) -> None:
        self._waiting: dict[trio.CancelScope, bytearray] = {}
        self.drops = 0

    @contextmanager
    def waiting(self, scope: trio.CancelScope, buffer: bytearray, *, drops: int) -> Iterator[None]:
        """`scope` is cancelled where the connection is to be closed.

        `drops` is what `self.drops` was when the request before this one began: its client may have
        had the answer, and the drop have come, before the connection got here.
        """
        self._waiting[scope] = buffer
        if drops != self.drops and not buffer:
            scope.cancel()
        try:
            yield
        finally:
            del self._waiting[scope]

    def drop(self) -> None:
        """Closes those on which nothing of a request has come: whoever asks again connects anew."""
        self.drops += 1
        for scope, buffer in tuple(self._waiting.items()):
            if not buffer:
                scope.cancel()

    def end(self) -> None:
        """Closes all of them."""
        for scope in tuple(self._waiting):
            scope.cancel()


@dataclass(frozen=True, slots=True)
class Service:
    """One running server as its connections see it. `closing` fires when it shuts down.

    Where there is a `tls`, every connection begins with its handshake.
    """

    app: ASGIApp
    limits: ServerLimits
    sockets: SocketLimits
    census: Census
    stalls: Stalls
    state: Mapping[str, Any]
    idle: Idle
    tls: Tls | None = None
    figures: RequestFigures | None = None
    closing: trio.Event = field(default_factory=trio.Event)

    def close(self) -> None:
        """No new request from here on; those under way go on."""
        self.closing.set()
        self.idle.end()

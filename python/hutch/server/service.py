"""What all connections of one server share.

Belongs here: `Service`, the record that a connection is given. Banned here: behaviour of a
connection, and the accept loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from hutch.server.census import Census
from hutch.server.stalls import Stalls
from hutch.wire.config import Limits

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """One running server as its connections see it.

    `closing` fires when it shuts down. `idle` holds the scopes of connections that wait for a
    request: those are cancelled at once.
    """

    app: ASGIApp
    limits: Limits
    census: Census
    stalls: Stalls
    state: Mapping[str, Any]
    closing: trio.Event = field(default_factory=trio.Event)
    idle: set[trio.CancelScope] = field(default_factory=set)

    def close(self) -> None:
        """No new request from here on; those under way go on."""
        self.closing.set()
        for scope in tuple(self.idle):
            scope.cancel()

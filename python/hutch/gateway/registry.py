"""What is open through the gateway just now, by workspace, so that it can be ended.

Belongs here: holding a request or a WebSocket for as long as it may go on, and deciding, when a
workspace's record changes, what has to end. Banned here: I/O. Source: wire contract, section 10:
what was revoked ends within five seconds, a WebSocket with 1008.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from hutch.forward import Ending
from hutch.gateway.plane import Route
from hutch.wire.errors import Code, Failure

_REVOKED: Final = 1008
_RESTART: Final = 1012
# For a close frame to go out between two frames of somebody else; then the connection is cut.
_FAREWELL_SECONDS: Final = 3.0


@dataclass(eq=False, slots=True)
class Hold:
    """One request or WebSocket under way, let in by `route`."""

    route: Route
    is_socket: bool
    ending: Ending = field(default_factory=Ending)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    why: Failure | None = None

    def end(self, code: int, failure: Failure) -> None:
        """Ends it: a WebSocket is told so, a request is cut. The first call counts."""
        if self.why is not None:
            return
        self.why = failure
        if self.is_socket:
            self.ending.end(code, failure.message)
            self.scope.deadline = trio.current_time() + _FAREWELL_SECONDS
        else:
            self.scope.cancel()


class Registry:
    """What is under way."""

    def __init__(self) -> None:
        self._holds: dict[str, set[Hold]] = {}
        self.sockets = 0
        self.requests = 0

    def live(self) -> tuple[str, ...]:
        """The workspaces to which anything is open."""
        return tuple(self._holds)

    @contextmanager
    def holding(self, route: Route, *, is_socket: bool) -> Iterator[Hold]:
        """Holds for as long as the record that let it in allows it.

        Raises `Failure` where it does no longer, so that the connection is closed.
        """
        hold = Hold(route, is_socket)
        self._enter(hold)
        try:
            with hold.scope:
                yield hold
        finally:
            self._leave(hold)
        if hold.why is not None and hold.scope.cancelled_caught:
            raise hold.why

    def _enter(self, hold: Hold) -> None:
        self._holds.setdefault(hold.route.workspace_id, set()).add(hold)
        self.sockets += hold.is_socket
        self.requests += not hold.is_socket

    def _leave(self, hold: Hold) -> None:
        holds = self._holds[hold.route.workspace_id]
        holds.discard(hold)
        if not holds:
            del self._holds[hold.route.workspace_id]
        self.sockets -= hold.is_socket
        self.requests -= not hold.is_socket

    def review(self, workspace_id: str, route: Route | None) -> None:
        """Ends what a record that is new does not allow any more."""
        for hold in tuple(self._holds.get(workspace_id, ())):
            failure = objection(hold.route, route)
            if failure is not None:
                gone = failure.code == "bad_gateway"
                hold.end(_RESTART if gone else _REVOKED, failure)

    def close(self) -> None:
        """The gateway ends: sockets are told so, requests have the server's grace."""
        failure = Failure("unavailable", "the gateway restarts")
        for holds in tuple(self._holds.values()):
            for hold in tuple(holds):
                if hold.is_socket:
                    hold.end(_RESTART, failure)
                    hold.scope.deadline = math.inf


def objection(then: Route, now: Route | None) -> Failure | None:
    """Why what `then` let in may not go on under `now`; None where it may."""
    code: Code = "unauthorized"
    if now is None:
        return Failure(code, "the workspace was deleted")
    if now.generation != then.generation:
        return Failure(code, "the workspace's tokens were revoked")
    if not now.public_access:
        return Failure("forbidden", NO_ACCESS)
    if not (now.enabled and now.running) or now.address is None or now.token is None:
        return Failure("bad_gateway", "the workspace's server was stopped")
    if (now.address, now.port) != (then.address, then.port):
        return Failure("bad_gateway", "the workspace has another address now")
    return None


NO_ACCESS: Final = (
    "the workspace has no public access; give it with "
    'PATCH /workspace/:id/network {"public_access": true}'
)

"""The two applications, composed: credentials in front, then the table.

Belongs here: who answers what, in which order. Banned here: endpoints, sockets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from hutch.control.composition import Control
from hutch.control.http import access, auth, health, internal, networks, workspaces
from hutch.routing import openapi
from hutch.routing.cors import Origins
from hutch.routing.dispatch import Dispatch, converse
from hutch.routing.table import Table
from hutch.server.answers import respond_bytes
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure

_CLIENTS: Final = {
    "id": {"type": "apiKey", "in": "header", "name": "X-Client-ID"},
    "secret": {"type": "apiKey", "in": "header", "name": "X-Client-Secret"},
}

TABLE: Final = Table(
    openapi.describing(
        "Hutch control plane",
        (*health.ROUTES, *workspaces.ROUTES, *access.ROUTES, *networks.ROUTES),
        schemes=_CLIENTS,
    )
)

INTERNAL_TABLE: Final = Table(
    openapi.describing("Hutch control plane, for gateways", (*health.ROUTES, *internal.ROUTES))
)

Guard = Callable[[Any], Awaitable[None]]


class Application:
    """An ASGI application: a guard, then a table. Every failure is answered here, once."""

    def __init__(self, control: Control, table: Table, guard: Guard, origins: Origins) -> None:
        self._guard = guard
        self._origins = origins
        self._dispatch = Dispatch(control, table, control.config.limits)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, as ASGI has it."""
        await converse(scope, receive, send, origins=self._origins, answer=self._answer)

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        preflight = self._origins.preflight(scope)
        if preflight is not None:
            await respond_bytes(exchange, status=204, headers=preflight, body=b"")
            return
        place = self._dispatch.find(scope["path"])
        if place is not None and place.is_open(scope):
            await self._dispatch.answer(exchange, place)
            return
        await self._guard(scope)
        scope.setdefault("state", {})["authenticated"] = True
        if place is None or scope["type"] != "http":
            raise Failure("not_found", f"no such endpoint: {scope['path'][:200]}")
        await self._dispatch.answer(exchange, place)


def client_app(control: Control, *, behind_proxy: bool = False) -> Application:
    """The application for clients."""
    guard = partial(auth.require_client, control, behind_proxy=behind_proxy)
    return Application(control, TABLE, guard, Origins(control.config.allow_origins))


def internal_app(control: Control) -> Application:
    """The application for gateways."""

    async def guard(scope: Any) -> None:
        auth.require_gateway(control, scope)

    return Application(control, INTERNAL_TABLE, guard, Origins(()))

"""The application, composed: auth in front, then the table.

Belongs here: who answers what, in which order. Banned here: endpoints (each resource module
exports its rows), the token (`auth`), sockets and logs (`hutch.server`).
"""

from __future__ import annotations

from typing import Any, Final

from hutch.routing import openapi
from hutch.routing.cors import Origins
from hutch.routing.dispatch import Dispatch, converse
from hutch.routing.table import Place, Table
from hutch.runtime.composition import Runtime
from hutch.runtime.http import (
    archive,
    chmod,
    copy,
    figures,
    mkdir,
    proxy,
    raw,
    read,
    remove,
    search,
    socket,
    stat,
    system,
    terminals,
    walk,
    watchers,
    write,
)
from hutch.runtime.http import exec as commands
from hutch.runtime.http.auth import HOLD, Tokens, brings_token, require_token
from hutch.server.answers import respond_bytes
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure
from hutch.wire.system import local_path

TABLE: Final = Table(
    openapi.describing(
        "Hutch runtime",
        (
            *system.ROUTES,
            *figures.ROUTES,
            *walk.ROUTES,
            *read.ROUTES,
            *raw.ROUTES,
            *stat.ROUTES,
            *write.ROUTES,
            *mkdir.ROUTES,
            *remove.ROUTES,
            *archive.ROUTES,
            *copy.ROUTES,
            *chmod.ROUTES,
            *search.ROUTES,
            *commands.ROUTES,
            *terminals.ROUTES,
            *socket.ROUTES,
            *watchers.ROUTES,
            *proxy.ROUTES,
        ),
    )
)


class Application:
    """The ASGI application of a runtime: auth, then the table.

    Every failure on the way is answered here, once.
    """

    def __init__(self, runtime: Runtime, tokens: Tokens, table: Table = TABLE) -> None:
        self._tokens = tokens
        self._origins = Origins(runtime.config.allow_origins)
        self._dispatch = dispatch = Dispatch(runtime, table, runtime.config.limits)
        runtime.figures.gauge(
            "open_streams", "Answers that are streams, under way", lambda: dispatch.open["stream"]
        )
        runtime.figures.gauge("open_sockets", "WebSockets", lambda: dispatch.open["socket"])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request or one socket, as ASGI has it."""
        await converse(scope, receive, send, origins=self._origins, answer=self._answer)

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        scope["path"] = local_path(scope["path"])
        place = self._dispatch.find(scope["path"])
        preflight = self._origins.preflight(scope)
        if preflight is not None and not self._is_passed(place, scope):
            await respond_bytes(exchange, status=204, headers=preflight, body=b"")
            return
        if place is not None and place.is_open(scope):
            await self._dispatch.answer(exchange, place)
            return
        require_token(self._tokens, scope)
        scope.setdefault("state", {})["authenticated"] = True
        self._origins.check_socket(scope)
        if place is None:
            raise Failure("not_found", f"no such endpoint: {scope['path'][:200]}")
        with self._tokens.hold() as hold:
            scope["state"][HOLD] = hold
            await self._dispatch.answer(exchange, place)

    def _is_passed(self, place: Place | None, scope: Any) -> bool:
        """Whether a preflight is another server's to answer: a browser's never brings a token."""
        is_passed = place is not None and place.passed is not None
        return is_passed and brings_token(self._tokens, scope)

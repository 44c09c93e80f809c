"""The application, composed: auth in front, then the table, then Quart-Trio or raw ASGI.

Belongs here: who answers what, in which order. Banned here: endpoints (each resource module
exports its rows), the token (`auth`), sockets and logs (`hutch.server`).
"""

from __future__ import annotations

from typing import Any, Final, cast

from hutch.runtime.composition import Runtime
from hutch.runtime.http import exec as commands
from hutch.runtime.http import mkdir, openapi, raw, read, remove, search, stat, system, walk, write
from hutch.runtime.http.answers import quart_app, refuse_large
from hutch.runtime.http.auth import Tokens, local_path, require_token
from hutch.runtime.http.cors import Headers, Origins
from hutch.runtime.http.table import Call, Place, Route, StreamHandler, Table
from hutch.server.answers import respond_bytes, respond_failure
from hutch.server.bodies import read_body
from hutch.server.streaming import Exchange
from hutch.wire import shapes
from hutch.wire.errors import Failure

TABLE: Final = Table(
    openapi.describing(
        (
            *system.ROUTES,
            *walk.ROUTES,
            *read.ROUTES,
            *raw.ROUTES,
            *stat.ROUTES,
            *write.ROUTES,
            *mkdir.ROUTES,
            *remove.ROUTES,
            *search.ROUTES,
            *commands.ROUTES,
        )
    )
)


class Application:
    """The ASGI application of a runtime: auth, then the table.

    Every failure on the way is answered here, once.
    """

    def __init__(self, runtime: Runtime, tokens: Tokens, table: Table = TABLE) -> None:
        self._runtime = runtime
        self._tokens = tokens
        self._table = table
        self._origins = Origins(runtime.config.allow_origins)
        self._quart = quart_app(runtime, table)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request or one socket, as ASGI has it."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        extra = self._origins.headers(scope)
        exchange = Exchange(scope, receive, _adding(send, extra) if extra else send)
        try:
            await self._answer(exchange)
        except Failure as failure:
            await respond_failure(exchange, failure)

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        preflight = self._origins.preflight(scope)
        if preflight is not None:
            await respond_bytes(exchange, status=204, headers=preflight, body=b"")
            return
        scope["path"] = local_path(scope["path"])
        place = self._table.find(scope["path"])
        if place is not None and place.is_open(scope):
            await self._route(exchange, place)
            return
        require_token(self._tokens, scope)
        scope.setdefault("state", {})["authenticated"] = True
        self._origins.check_socket(scope)
        if place is None or scope["type"] != "http":
            raise Failure("not_found", f"no such endpoint: {scope['path'][:200]}")
        with self._tokens.hold():
            await self._route(exchange, place)

    async def _route(self, exchange: Exchange, place: Place) -> None:
        scope = exchange.scope
        route = place.route(scope["method"])
        scope.setdefault("state", {})["route"] = route.path
        refuse_large(route, scope, self._runtime.config.limits.body_bytes)
        if route.kind == "json":
            await self._quart(scope, exchange.receive, exchange.send)
            return
        asked = await self._asked(route, exchange)
        call = Call(asked, place.params, dict(scope["headers"]))
        handler = cast(StreamHandler, route.handler)
        await handler(self._runtime, call, exchange)

    async def _asked(self, route: Route, exchange: Exchange) -> Any:
        if route.shape is None:
            return None
        if route.source == "query":
            return shapes.parse_query(route.shape, exchange.scope["query_string"])
        body = await read_body(exchange, self._runtime.config.limits)
        return shapes.parse_body(route.shape, body)


def _adding(send: Any, extra: Headers) -> Any:
    async def send_with(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return send_with


async def _lifespan(receive: Any, send: Any) -> None:
    """The runtime is opened before the server and closed after it: nothing to do in between."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

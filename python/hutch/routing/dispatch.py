"""From a place in the table to its answer: Quart-Trio for JSON and sockets, raw ASGI for streams.

Belongs here: handing a request to its route's handler, and what every application does the same
way before and after. Banned here: who may ask (each application has its own credentials).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from hutch.routing.cors import Headers, Origins
from hutch.routing.sockets import Socket
from hutch.routing.table import Call, Kind, Place, Route, StreamHandler, Table
from hutch.routing.views import SOCKET, quart_app, refuse_large
from hutch.server.answers import respond_failure
from hutch.server.bodies import read_body
from hutch.server.streaming import FORWARDED, Exchange
from hutch.wire import shapes
from hutch.wire.config import ApiLimits
from hutch.wire.errors import Failure


class Dispatch:
    """A table at work: `service` is handed to every handler."""

    def __init__(self, service: Any, table: Table, limits: ApiLimits) -> None:
        self._service = service
        self._table = table
        self._limits = limits
        # Answers under way of each kind that may take long.
        self.open: dict[Kind, int] = {"stream": 0, "socket": 0}
        self._quart = quart_app(service, table, limits.body_bytes)

    def find(self, path: str) -> Place | None:
        """Where a decoded request path leads, or None."""
        return self._table.find(path)

    async def answer(self, exchange: Exchange, place: Place) -> None:
        """Answers a request whose caller may ask. Raises `Failure`."""
        scope = exchange.scope
        if scope["type"] == "websocket" and place.passed is None:
            await self._open(exchange, place)
            return
        route = place.route(scope.get("method", "GET"))
        scope.setdefault("state", {})["route"] = route.path
        if route.kind == "socket":
            raise Failure(
                "bad_request", f"{route.path} is a WebSocket; ask for it with 'Upgrade: websocket'"
            )
        refuse_large(route, scope, self._limits.body_bytes)
        if route.kind == "json":
            await self._quart(scope, exchange.receive, exchange.send)
            return
        with self._counting("stream"):
            asked = await self._asked(route, exchange)
            call = Call(asked, place.params, dict(scope["headers"]))
            handler = cast(StreamHandler, route.handler)
            await handler(self._service, call, exchange)

    @contextmanager
    def _counting(self, kind: Kind) -> Iterator[None]:
        self.open[kind] += 1
        try:
            yield
        finally:
            self.open[kind] -= 1

    async def _open(self, exchange: Exchange, place: Place) -> None:
        state = exchange.scope.setdefault("state", {})
        state["route"] = place.socket().path
        state[SOCKET] = socket = Socket(exchange)
        with self._counting("socket"):
            await self._quart(exchange.scope, socket.feed, exchange.send)

    async def _asked(self, route: Route, exchange: Exchange) -> Any:
        if route.shape is None:
            return None
        if route.source == "query":
            return shapes.parse_query(route.shape, exchange.scope["query_string"])
        body = await read_body(exchange, self._limits)
        return shapes.parse_body(route.shape, body)


async def converse(
    scope: Any,
    receive: Any,
    send: Any,
    *,
    origins: Origins,
    answer: Callable[[Exchange], Awaitable[None]],
) -> None:
    """One call of an ASGI application: `answer` answers it, and what it fails with is answered
    here, once, with the headers that the caller's origin is due.
    """
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    exchange = _adding(Exchange(scope, receive, send), origins.headers(scope))
    try:
        await answer(exchange)
    except Failure as failure:
        await respond_failure(exchange, failure)


def _adding(exchange: Exchange, extra: Headers) -> Exchange:
    """The exchange whose answer carries `extra` headers too."""
    if not extra:
        return exchange

    async def send_with(message: Any) -> None:
        if message["type"] == "http.response.start" and not _speaks_for_itself(message):
            message = {**message, "headers": [*message["headers"], *extra]}
        await exchange.send(message)

    return Exchange(exchange.scope, exchange.receive, send_with)


def _speaks_for_itself(message: Any) -> bool:
    """Whether it is another server's answer that says by itself which pages may read it."""
    return FORWARDED in message and any(
        name.lower() == b"access-control-allow-origin" for name, _ in message["headers"]
    )


async def _lifespan(receive: Any, send: Any) -> None:
    """Services are opened before the server and closed after it: nothing to do in between."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

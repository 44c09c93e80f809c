"""JSON routes and sockets over Quart-Trio: one view for all of a kind.

Belongs here: running a handler and putting its answer, or its failure, into a response, or the
code of a closed socket.
Banned here: endpoints. Quart carries the bytes; its own parsing, error pages and timeouts
stay unused.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec
import trio
from quart import Response, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import RequestEntityTooLarge

from hutch.routing.sockets import Socket
from hutch.routing.table import Answer, Call, JsonHandler, Route, SocketHandler, Table
from hutch.server.answers import NO_STORE, failure_parts, request_id
from hutch.wire import shapes
from hutch.wire.errors import Code, Failure

T = TypeVar("T")

_log = logging.getLogger(__name__)

_JSON = (b"content-type", b"application/json")

# Where the scope's state has the `Socket` of a handshake.
SOCKET: Final = "socket"
_CODES: Final[Mapping[Code, int]] = {
    "unauthorized": 1008,
    "forbidden": 1008,
    "bad_request": 1008,
    "unavailable": 1013,
}
_INTERNAL_ERROR: Final = 1011
# RFC 6455, section 5.5: a control frame has 125 bytes, two of them the code.
_LONGEST_REASON: Final = 123


def quart_app(service: Any, table: Table, body_bytes: int) -> QuartTrio:
    """The Quart application with every json route of the table; bodies up to `body_bytes`."""
    app = QuartTrio("hutch")
    app.config["MAX_CONTENT_LENGTH"] = body_bytes
    # Both are total times; ours are idle ones, kept by hutch.server.
    app.config["BODY_TIMEOUT"] = None
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.strict_slashes = False
    for route in table.routes:
        rule = route.path.replace("{", "<").replace("}", ">")
        endpoint = f"{route.method} {route.path}"
        if route.kind == "socket":
            app.add_websocket(rule, endpoint, _socket_view(service, route))
        elif route.kind == "json":
            app.add_url_rule(
                rule, endpoint, _view(service, route, body_bytes), methods=[route.method]
            )
    return app


def _view(service: Any, route: Route, body_bytes: int) -> Callable[..., Awaitable[Response]]:
    async def view(**params: str) -> Response:
        try:
            applied = await _ungrouped(_apply(service, route, params, body_bytes))
            return _response(route, applied)
        except Failure as failure:
            return _failed(failure)
        except Exception:
            identifier = request_id(request.scope)
            _log.exception("unexpected error", extra={"request_id": identifier})
            return _failed(Failure("internal", "an unexpected error; the server's log has it"))

    return view


def _socket_view(service: Any, route: Route) -> Callable[..., Awaitable[Response | None]]:
    handler = cast(SocketHandler, route.handler)

    async def view(**params: str) -> Response | None:
        scope = websocket.scope
        socket: Socket = scope["state"][SOCKET]
        try:
            query: bytes = scope["query_string"]
            asked = None if route.shape is None else shapes.parse_query(route.shape, query)
        except Failure as failure:
            return _quart_response(*failure_parts(failure, request_id(scope)))
        await socket.accept(websocket._get_current_object())  # type: ignore[attr-defined]  # a proxy
        try:
            call = Call(asked, params, dict(scope["headers"]))
            await _ungrouped(handler(service, call, socket))
        except Failure as failure:
            await socket.close(_code(failure), _reason(failure))
        except Exception:
            _log.exception("unexpected error", extra={"request_id": request_id(scope)})
            await socket.close(_INTERNAL_ERROR, "an unexpected error; the server's log has it")
        return None

    return view


async def _ungrouped(work: Awaitable[T]) -> T:
    """What `work` returns; a cancellation that nurseries have put into groups comes out bare.

    A group would stay in a ring with the frames of Quart-Trio that looked through it, and with it
    whatever the handler had open, until the garbage collector comes.
    """
    try:
        return await work
    except BaseExceptionGroup as group:
        if group.split(trio.Cancelled)[1] is not None:
            raise
    # Cancelled all the same: it ends at once.
    while True:
        await trio.sleep_forever()


def _code(failure: Failure) -> int:
    return _CODES.get(failure.code, _INTERNAL_ERROR)


def _reason(failure: Failure) -> str:
    return failure.message.encode()[:_LONGEST_REASON].decode("utf-8", "ignore")


async def _apply(
    service: Any, route: Route, params: dict[str, str], body_bytes: int
) -> msgspec.Struct | Answer:
    handler = cast(JsonHandler, route.handler)
    asked = await _asked(route, body_bytes)
    return await handler(service, Call(asked, params, dict(request.scope["headers"])))


async def _asked(route: Route, body_bytes: int) -> Any:
    if route.shape is None:
        return None
    query: bytes = request.scope["query_string"]
    if route.source == "query":
        return shapes.parse_query(route.shape, query)
    try:
        body: bytes = await request.get_data(as_text=False)  # type: ignore[assignment]  # not text
    except RequestEntityTooLarge:
        raise _too_large(body_bytes) from None
    if route.source == "body":
        return shapes.parse_body(route.shape, body)
    return shapes.parse_either(route.shape, query, body)


def refuse_large(route: Route, scope: Any, limit: int) -> None:
    """Raises `Failure` (too_large) for a JSON body that is announced as larger than `limit`.

    Quart says so too, but asks for the body first: a client that waits for 100 would send it all.
    """
    headers = () if route.source == "query" else scope["headers"]
    if any(int(value) > limit for name, value in headers if name == b"content-length"):
        raise _too_large(limit)


def _too_large(limit: int) -> Failure:
    return Failure(
        "too_large", f"body: over {limit} bytes; PUT /files/raw takes a file of any size"
    )


def _response(route: Route, result: msgspec.Struct | Answer) -> Response:
    answer = result if isinstance(result, Answer) else Answer(result)
    headers = [_JSON, *answer.headers]
    if not any(name == b"cache-control" for name, _ in answer.headers):
        headers.append(NO_STORE)
    status = route.status if answer.status is None else answer.status
    body = b"" if answer.value is None else msgspec.json.encode(answer.value)
    return _quart_response(status, headers, body)


def _failed(failure: Failure) -> Response:
    return _quart_response(*failure_parts(failure, request_id(request.scope)))


def _quart_response(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Response:
    response = Response(body, status=status)
    response.headers.clear()
    for name, value in headers:
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    response.headers["content-length"] = str(len(body))
    return response

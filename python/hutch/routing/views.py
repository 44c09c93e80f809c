"""JSON routes over Quart-Trio: one view for all of them.

Belongs here: running a handler and putting its answer, or its failure, into a response.
Banned here: endpoints. Quart carries the bytes; its own parsing, error pages and timeouts
stay unused.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import RequestEntityTooLarge

from hutch.routing.table import Answer, Call, JsonHandler, Route, Table
from hutch.server.answers import NO_STORE, failure_parts, request_id
from hutch.wire import shapes
from hutch.wire.errors import Failure

_log = logging.getLogger(__name__)

_JSON = (b"content-type", b"application/json")


def quart_app(service: Any, table: Table, body_bytes: int) -> QuartTrio:
    """The Quart application with every json route of the table; bodies up to `body_bytes`."""
    app = QuartTrio("hutch")
    app.config["MAX_CONTENT_LENGTH"] = body_bytes
    # Both are total times; ours are idle ones, kept by hutch.server.
    app.config["BODY_TIMEOUT"] = None
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.strict_slashes = False
    for route in table.routes:
        if route.kind == "json":
            rule = route.path.replace("{", "<").replace("}", ">")
            endpoint = f"{route.method} {route.path}"
            app.add_url_rule(
                rule, endpoint, _view(service, route, body_bytes), methods=[route.method]
            )
    return app


def _view(service: Any, route: Route, body_bytes: int) -> Callable[..., Awaitable[Response]]:
    async def view(**params: str) -> Response:
        try:
            return _response(route, await _apply(service, route, params, body_bytes))
        except Failure as failure:
            return _failed(failure)
        except Exception:
            identifier = request_id(request.scope)
            _log.exception("unexpected error", extra={"request_id": identifier})
            return _failed(Failure("internal", "an unexpected error; the server's log has it"))

    return view


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

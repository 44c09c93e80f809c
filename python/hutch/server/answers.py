"""Whole answers: failures as the JSON error body, and bytes that are there already.

Belongs here: request ids, the error answer, sending a small body, all over plain ASGI.
Banned here: streams (`streaming`), sockets. Source: wire contract, section 1, "error body".
"""

from __future__ import annotations

import http
import secrets
from collections.abc import Sequence
from typing import Any, Final

from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure, error_body

Headers = list[tuple[bytes, bytes]]

NO_STORE: Final = (b"cache-control", b"no-store")
"""The header of every answer but those with a file's content."""

_ERROR_HEADERS: Final = ((b"content-type", b"application/json"), NO_STORE)


def new_request_id() -> str:
    """Sixteen hex digits. A client's own id is never adopted: it could forge log lines."""
    return secrets.token_hex(8)


def request_id(scope: Any) -> str:
    """The id of the request, as `X-Request-ID` and the log carry it.

    Under another ASGI server nobody has given it one: it is made on first use.
    """
    identifier: str = scope.setdefault("state", {}).setdefault("request_id", new_request_id())
    return identifier


def failure_parts(failure: Failure, request_id: str) -> tuple[int, Headers, bytes]:
    """Status, headers (without a length) and body of a failure's answer."""
    headers = [*_ERROR_HEADERS, *failure.headers]
    return failure.status, headers, error_body(failure, request_id)


def plain_answer(failure: Failure) -> bytes:
    """A failure's whole answer, for where no request could be read; the connection closes."""
    identifier = new_request_id()
    status, headers, body = failure_parts(failure, identifier)
    headers += [
        (b"x-request-id", identifier.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    lines = b"".join(b"%b: %b\r\n" % one for one in headers)
    phrase = http.HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, phrase, lines, body)


async def respond_bytes(
    exchange: Exchange, *, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> None:
    """Answers with a body that is there already; refuses, where a WebSocket was asked for."""
    prefix = "websocket." if exchange.scope["type"] == "websocket" else ""
    sized = [*headers, (b"content-length", b"%d" % len(body))]
    await exchange.send(
        {"type": f"{prefix}http.response.start", "status": status, "headers": sized}
    )
    await exchange.send({"type": f"{prefix}http.response.body", "body": body, "more_body": False})


async def respond_unchanged(exchange: Exchange, *, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """304: no body and no length, which would have to be that of the whole answer."""
    start = {"type": "http.response.start", "status": 304, "headers": list(headers)}
    await exchange.send(start)
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})


async def respond_failure(exchange: Exchange, failure: Failure) -> None:
    """Answers with the JSON error body.

    Raises `AnswerBegun` where an answer has begun: the server then closes the connection, so
    that no client takes what it got for complete.
    """
    status, headers, body = failure_parts(failure, request_id(exchange.scope))
    await respond_bytes(exchange, status=status, headers=headers, body=body)

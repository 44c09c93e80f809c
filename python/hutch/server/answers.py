"""provisional"""

from __future__ import annotations
from typing import Any
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure, error_body


def request_id(scope: Any) -> str:
    return "x"


def failure_parts(
    failure: Failure, request_id: str
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return (
        failure.status,
        [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *failure.headers],
        error_body(failure, request_id),
    )


async def respond_bytes(exchange: Exchange, *, status: int, headers: Any, body: bytes) -> None:
    await exchange.send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await exchange.send({"type": "http.response.body", "body": body, "more_body": False})


async def respond_failure(exchange: Exchange, failure: Failure) -> None:
    s, h, b = failure_parts(failure, request_id(exchange.scope))
    await respond_bytes(exchange, status=s, headers=h, body=b)

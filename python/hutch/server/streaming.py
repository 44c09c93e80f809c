"""provisional"""

from __future__ import annotations
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
import trio
from hutch.wire.errors import Failure


@dataclass(frozen=True, slots=True)
class Exchange:
    scope: Any
    receive: Any
    send: Any


class Source(Protocol):
    async def pull(self) -> bytes | None: ...
    def stop(self) -> None: ...


async def respond(
    exchange: Exchange,
    *,
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    source: Source,
    keepalive: bytes | None = None,
    keepalive_after: float = 15.0,
    error_line: Callable[[Failure], bytes] | None = None,
) -> None:
    try:
        await exchange.send(
            {"type": "http.response.start", "status": status, "headers": list(headers)}
        )
        while (b := await source.pull()) is not None:
            await exchange.send({"type": "http.response.body", "body": b, "more_body": True})
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        source.stop()

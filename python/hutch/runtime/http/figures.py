"""`GET /metrics` and `GET /limits`.

Belongs here: these rows. Source: design, section 4, "Bounds".
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.server.answers import NO_STORE, respond_bytes
from hutch.server.figures import CONTENT_TYPE
from hutch.server.streaming import Exchange
from hutch.wire.limits import LimitsAnswer


async def metrics(runtime: Runtime, _call: Call[None], exchange: Exchange) -> None:
    """Answers with all figures in Prometheus' text format."""
    headers = ((b"content-type", CONTENT_TYPE), NO_STORE)
    await respond_bytes(exchange, status=200, headers=headers, body=runtime.figures.text())


async def limits(runtime: Runtime, _call: Call[None]) -> LimitsAnswer:
    """Answers with every bound, and how much of it is in use."""
    return LimitsAnswer(limits=runtime.bounds())


ROUTES = (
    Route(
        method="GET",
        path="/metrics",
        kind="stream",
        handler=metrics,
        summary="Figures for Prometheus",
        media_type="text/plain",
    ),
    Route(
        method="GET",
        path="/limits",
        kind="json",
        handler=limits,
        summary="Every bound and its present use",
        answer=LimitsAnswer,
    ),
)

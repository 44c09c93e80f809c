"""`GET /files/search`, its stream, `/files/search/init` and `/files/search/files`.

Belongs here: these rows. Source: wire contract, section 3.
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.runtime.http.walk import PROGRESS, error_line
from hutch.server.answers import NO_STORE
from hutch.server.streaming import Exchange, respond
from hutch.wire.search import (
    FindAnswer,
    FindQuery,
    InstallQuery,
    RipgrepStatus,
    SearchAnswer,
    SearchQuery,
    SearchStreamQuery,
)

_JSON = [(b"content-type", b"application/json"), NO_STORE]


async def search(runtime: Runtime, call: Call[SearchQuery], exchange: Exchange) -> None:
    """Answers with the matching lines by file, as one JSON object."""
    async with runtime.searches.open(call.asked) as source:
        await respond(exchange, status=200, headers=_JSON, source=source)


async def stream_search(
    runtime: Runtime, call: Call[SearchStreamQuery], exchange: Exchange
) -> None:
    """Answers with one line of JSON a match, as they are found."""
    async with runtime.searches.open(call.asked) as source:
        await respond(
            exchange,
            status=200,
            headers=[(b"content-type", b"application/x-ndjson"), NO_STORE],
            source=source,
            keepalive=PROGRESS,
            keepalive_after=runtime.config.limits.silence_seconds,
            error_line=error_line,
        )


async def find(runtime: Runtime, call: Call[FindQuery], exchange: Exchange) -> None:
    """Answers with the paths that hold the query, the best first."""
    source = runtime.finds.open(call.asked)
    await respond(exchange, status=200, headers=_JSON, source=source)


async def status(runtime: Runtime, _call: Call[None]) -> RipgrepStatus:
    """Says whether there is a ripgrep, and how an installation goes."""
    return await runtime.installations.status()


async def install(runtime: Runtime, call: Call[InstallQuery]) -> RipgrepStatus:
    """Installs ripgrep unless it is there."""
    return await runtime.installations.install(call.asked)


ROUTES = (
    Route(
        method="GET",
        path="/files/search",
        kind="stream",
        handler=search,
        summary="Search in files",
        shape=SearchQuery,
        answer=SearchAnswer,
    ),
    Route(
        method="GET",
        path="/files/search/stream",
        kind="stream",
        handler=stream_search,
        summary="Stream matching lines as NDJSON",
        shape=SearchStreamQuery,
        media_type="application/x-ndjson",
    ),
    Route(
        method="GET",
        path="/files/search/files",
        kind="stream",
        handler=find,
        summary="Search for files by name",
        shape=FindQuery,
        answer=FindAnswer,
    ),
    Route(
        method="GET",
        path="/files/search/init",
        kind="json",
        handler=status,
        summary="Whether ripgrep is installed",
        answer=RipgrepStatus,
    ),
    Route(
        method="POST",
        path="/files/search/init",
        kind="json",
        handler=install,
        summary="Install ripgrep",
        shape=InstallQuery,
        source="either",
        answer=RipgrepStatus,
    ),
)

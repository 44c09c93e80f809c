"""`GET /files` and `GET /files/stream`.

Belongs here: these two rows. Both answers leave in batches that the extension has finished,
so both are streams; neither is ever put together in Python.
Source: wire contract, section 2, "List and stream".
"""

from __future__ import annotations

import msgspec

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.runtime.walk import form_of
from hutch.server.answers import NO_STORE
from hutch.server.streaming import Exchange, respond
from hutch.wire.errors import Failure
from hutch.wire.walk import Listing, WalkQuery

PROGRESS = b'{"event":"progress"}\n'


def error_line(failure: Failure) -> bytes:
    """The last line of a stream that cannot be completed."""
    return (
        msgspec.json.encode({"event": "error", "error": failure.message, "code": failure.code})
        + b"\n"
    )


async def list_files(runtime: Runtime, call: Call[WalkQuery], exchange: Exchange) -> None:
    """Answers with the whole listing as one JSON object."""
    await respond(
        exchange,
        status=200,
        headers=[(b"content-type", b"application/json"), NO_STORE],
        source=runtime.walks.open(call.asked, form_of(call.asked)),
    )


async def stream_files(runtime: Runtime, call: Call[WalkQuery], exchange: Exchange) -> None:
    """Answers with one line of JSON an entry, as they are found."""
    await respond(
        exchange,
        status=200,
        headers=[(b"content-type", b"application/x-ndjson"), NO_STORE],
        source=runtime.walks.open(call.asked, "stream"),
        keepalive=PROGRESS,
        keepalive_after=runtime.config.limits.silence_seconds,
        error_line=error_line,
    )


ROUTES = (
    Route(
        method="GET",
        path="/files",
        kind="stream",
        handler=list_files,
        summary="List a directory",
        shape=WalkQuery,
        answer=Listing,
    ),
    Route(
        method="GET",
        path="/files/stream",
        kind="stream",
        handler=stream_files,
        summary="Stream a directory tree as NDJSON",
        shape=WalkQuery,
        media_type="application/x-ndjson",
    ),
)

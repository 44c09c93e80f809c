"""`GET /files/read`.

Belongs here: this row. The answer leaves in batches that the extension has finished, so it is a
stream. Source: wire contract, section 2, "Read".
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.server.answers import respond_unchanged
from hutch.server.streaming import Exchange, respond
from hutch.wire.conditions import is_unchanged, version_headers
from hutch.wire.read import FileContent, ReadQuery


async def read(runtime: Runtime, call: Call[ReadQuery], exchange: Exchange) -> None:
    """Answers with the file's text, or that it is still the one the client has."""
    reading = await runtime.reads.open(call.asked)
    headers = [*version_headers(reading.version)]
    if is_unchanged(reading.version, call.headers):
        await respond_unchanged(exchange, headers=headers)
        return
    headers.append((b"content-type", b"application/json"))
    if reading.length is not None:
        headers.append((b"content-length", b"%d" % reading.length))
    await respond(exchange, status=200, headers=headers, source=reading)


ROUTES = (
    Route(
        method="GET",
        path="/files/read",
        kind="stream",
        handler=read,
        summary="Read a file as text, whole or by lines",
        shape=ReadQuery,
        answer=FileContent,
    ),
)

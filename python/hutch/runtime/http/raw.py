"""`GET /files/raw`.

Belongs here: this row, and the headers that tell which part of the file an answer is.
Source: wire contract, section 2, "Raw"; RFC 9110, sections 13 and 14.
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.runtime.raw import RawFile
from hutch.server.answers import respond_unchanged
from hutch.server.streaming import Exchange, respond
from hutch.wire.conditions import Headers, holds_range, is_unchanged, version_headers
from hutch.wire.raw import RawQuery, parse_range


async def read_raw(runtime: Runtime, call: Call[RawQuery], exchange: Exchange) -> None:
    """Answers with the file's bytes, a part of them, or that the client has them already."""
    file = await runtime.raws.open(call.asked.path)
    if is_unchanged(file.version, call.headers):
        await respond_unchanged(exchange, headers=version_headers(file.version))
        return
    part = _part(file, call, exchange)
    if part is not None:
        file.choose(part)
    await respond(
        exchange,
        status=200 if part is None else 206,
        headers=_headers(file, part),
        source=file,
    )


def _part(file: RawFile, call: Call[RawQuery], exchange: Exchange) -> range | None:
    asked = call.headers.get(b"range")
    # `Range` is defined for GET alone.
    if asked is None or file.size is None or exchange.scope["method"] != "GET":
        return None
    return parse_range(asked, file.size) if holds_range(file.version, call.headers) else None


def _headers(file: RawFile, part: range | None) -> Headers:
    headers: Headers = (
        (b"content-type", b"application/octet-stream"),
        *version_headers(file.version),
    )
    if file.size is None:
        return headers
    length = file.size if part is None else len(part)
    headers += ((b"accept-ranges", b"bytes"), (b"content-length", b"%d" % length))
    if part is None:
        return headers
    shown = b"bytes %d-%d/%d" % (part.start, part.stop - 1, file.size)
    return (*headers, (b"content-range", shown))


ROUTES = (
    Route(
        method="GET",
        path="/files/raw",
        kind="stream",
        handler=read_raw,
        summary="A file's exact bytes",
        shape=RawQuery,
        media_type="application/octet-stream",
    ),
)

"""`POST` and `PUT /files/write`, `PUT /files/raw`.

Belongs here: these rows. Source: wire contract, section 2, "Write" and "Raw".
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from hutch.routing.table import Answer, Call, Route
from hutch.runtime.composition import Runtime
from hutch.server.answers import NO_STORE, respond_bytes
from hutch.server.bodies import Body
from hutch.server.streaming import Exchange
from hutch.wire.change import parse_condition
from hutch.wire.errors import Failure
from hutch.wire.write import UploadQuery, WriteBody, Written


async def write(runtime: Runtime, call: Call[WriteBody]) -> Answer:
    """Writes a file, and answers with its size, hash and ETag."""
    condition = parse_condition(call.headers, call.asked.expected_hash)
    written = await runtime.writes.write(call.asked, condition)
    return Answer(written, headers=((b"etag", written.etag.encode("ascii")),))


async def write_raw(runtime: Runtime, call: Call[UploadQuery], exchange: Exchange) -> None:
    """Writes the request's body to a file as it arrives."""
    if b"content-range" in call.headers:
        # RFC 9110, section 14.5: a part that is taken for the whole would cut the file.
        raise Failure("bad_request", "Content-Range: a part of a file cannot be put; put it whole")
    condition = parse_condition(call.headers, call.asked.expected_hash)
    body = Body(exchange, runtime.config.limits)
    written = await runtime.writes.upload(call.asked, condition, body.pull)
    await respond_bytes(
        exchange,
        status=201,
        headers=(
            (b"content-type", b"application/json"),
            NO_STORE,
            (b"etag", written.etag.encode("ascii")),
        ),
        body=msgspec.json.encode(written),
    )


_WRITE = Route(
    method="POST",
    path="/files/write",
    kind="json",
    handler=write,
    summary="Write a file",
    shape=WriteBody,
    source="body",
    answer=Written,
    status=201,
)

ROUTES = (
    _WRITE,
    replace(_WRITE, method="PUT"),
    Route(
        method="PUT",
        path="/files/raw",
        kind="stream",
        handler=write_raw,
        summary="Write a file of any size",
        shape=UploadQuery,
        answer=Written,
        status=201,
        request_media_type="application/octet-stream",
    ),
)

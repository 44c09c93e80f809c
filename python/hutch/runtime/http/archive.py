"""`POST /files/transfer/download` and `/files/transfer/upload`.

Belongs here: these rows. Source: wire contract, section 2, "Transfer".
"""

from __future__ import annotations

import msgspec

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.server.answers import NO_STORE, respond_bytes
from hutch.server.bodies import Body
from hutch.server.streaming import Exchange, respond
from hutch.wire.archive import DownloadBody, Extracted, UploadQuery


async def download(runtime: Runtime, call: Call[DownloadBody], exchange: Exchange) -> None:
    """Answers with a tar.gz of the paths; its trailer fields count what is not in it."""
    archive = runtime.archives.download(call.asked)

    def trailers() -> tuple[tuple[bytes, bytes], ...]:
        skipped, changed = archive.packed()
        return ((b"x-hutch-skipped", b"%d" % skipped), (b"x-hutch-changed", b"%d" % changed))

    await respond(
        exchange,
        status=200,
        headers=[
            (b"content-type", b"application/gzip"),
            NO_STORE,
            (b"trailer", b"x-hutch-skipped, x-hutch-changed"),
        ],
        source=archive,
        trailers=trailers,
    )


async def upload(runtime: Runtime, call: Call[UploadQuery], exchange: Exchange) -> None:
    """Unpacks the request's body as it arrives."""
    body = Body(exchange, runtime.config.limits)
    extracted = await runtime.archives.upload(call.asked, body.pull)
    await respond_bytes(
        exchange,
        status=200,
        headers=((b"content-type", b"application/json"), NO_STORE),
        body=msgspec.json.encode(extracted),
    )


ROUTES = (
    Route(
        method="POST",
        path="/files/transfer/download",
        kind="stream",
        handler=download,
        summary="Download files and trees as one tar.gz",
        shape=DownloadBody,
        source="body",
        media_type="application/gzip",
    ),
    Route(
        method="POST",
        path="/files/transfer/upload",
        kind="stream",
        handler=upload,
        summary="Unpack a tar.gz into a directory",
        shape=UploadQuery,
        answer=Extracted,
        request_media_type="application/gzip",
    ),
)

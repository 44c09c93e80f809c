"""`POST /files/transfer/download` and `/files/transfer/upload`.

Belongs here: these rows. Source: wire contract, section 2, "Transfer".
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.server.answers import NO_STORE
from hutch.server.streaming import Exchange, respond
from hutch.wire.archive import DownloadBody


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
)

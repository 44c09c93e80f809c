"""`GET /files/stat`.

Belongs here: this row. Source: wire contract, section 2, "Stat".
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.wire.stat import FileStat, StatQuery


async def stat(runtime: Runtime, call: Call[StatQuery]) -> FileStat:
    """Answers with what the entry is."""
    return await runtime.stats.stat(call.asked.path)


ROUTES = (
    Route(
        method="GET",
        path="/files/stat",
        kind="json",
        handler=stat,
        summary="Metadata of one file, directory or symlink",
        shape=StatQuery,
        answer=FileStat,
    ),
)

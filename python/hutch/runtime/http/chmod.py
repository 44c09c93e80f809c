"""`POST /files/chmod`.

Belongs here: this row.
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.wire.change import parse_condition
from hutch.wire.chmod import Changed, ChmodBody


async def chmod(runtime: Runtime, call: Call[ChmodBody]) -> Changed:
    """Sets permission bits of a file, or of a directory with all below it."""
    condition = parse_condition(call.headers, call.asked.expected_hash)
    return await runtime.chmods.chmod(call.asked, condition)


ROUTES = (
    Route(
        method="POST",
        path="/files/chmod",
        kind="json",
        handler=chmod,
        summary="Set permission bits",
        shape=ChmodBody,
        source="body",
        answer=Changed,
    ),
)

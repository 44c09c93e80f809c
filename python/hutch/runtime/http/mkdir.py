"""`POST /files/mkdir`.

Belongs here: this row. Source: wire contract, section 2, "Mkdir".
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.wire.mkdir import Made, MkdirBody


async def mkdir(runtime: Runtime, call: Call[MkdirBody]) -> Made:
    """Makes a directory with its parents."""
    return await runtime.mkdirs.make(call.asked)


ROUTES = (
    Route(
        method="POST",
        path="/files/mkdir",
        kind="json",
        handler=mkdir,
        summary="Make a directory with its parents",
        shape=MkdirBody,
        source="body",
        answer=Made,
        status=201,
    ),
)

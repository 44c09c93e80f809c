"""`POST /files/copy` and `POST /files/move`.

Belongs here: these rows.
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.wire.change import parse_condition
from hutch.wire.copy import Copied, CopyBody, MoveBody, Moved


async def copy(runtime: Runtime, call: Call[CopyBody]) -> Copied:
    """Copies a file, a link, or a directory with all below it."""
    condition = parse_condition(call.headers, call.asked.expected_hash)
    return await runtime.copies.copy(call.asked, condition)


async def move(runtime: Runtime, call: Call[MoveBody]) -> Moved:
    """Moves a file, a link, or a directory with all below it."""
    condition = parse_condition(call.headers, call.asked.expected_hash)
    return await runtime.copies.move(call.asked, condition)


ROUTES = (
    Route(
        method="POST",
        path="/files/copy",
        kind="json",
        handler=copy,
        summary="Copy a file or a tree",
        shape=CopyBody,
        source="body",
        answer=Copied,
        status=201,
    ),
    Route(
        method="POST",
        path="/files/move",
        kind="json",
        handler=move,
        summary="Move a file or a tree",
        shape=MoveBody,
        source="body",
        answer=Moved,
    ),
)

"""`DELETE` and `POST /files/delete`.

Belongs here: these rows. Source: wire contract, section 2, "Delete".
"""

from __future__ import annotations

from dataclasses import replace

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.wire.change import parse_condition
from hutch.wire.remove import Removed, RemoveRequest


async def remove(runtime: Runtime, call: Call[RemoveRequest]) -> Removed:
    """Removes a file, a link, or a directory with all below it."""
    condition = parse_condition(call.headers, call.asked.expected_hash)
    return await runtime.removals.remove(call.asked, condition)


_REMOVE = Route(
    method="DELETE",
    path="/files/delete",
    kind="json",
    handler=remove,
    summary="Remove a file or a tree",
    shape=RemoveRequest,
    source="either",
    answer=Removed,
)

ROUTES = (_REMOVE, replace(_REMOVE, method="POST"))

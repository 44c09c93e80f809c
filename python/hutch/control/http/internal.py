"""Rows for gateways: routes, changes, keys.

Source: wire contract, section 9, "a second listener".
"""

from __future__ import annotations

from hutch.control.composition import Control
from hutch.routing.table import Call, Route
from hutch.wire.control.gateways import ChangesAnswer, ChangesQuery, KeysAnswer, RouteAnswer


async def route(control: Control, call: Call[None]) -> RouteAnswer:
    """Says where a workspace is and who may reach it."""
    return await control.gateways.route(call.params["id"])


async def changes(control: Control, call: Call[ChangesQuery]) -> ChangesAnswer:
    """Says what changed, once something has."""
    return await control.gateways.changes(call.asked)


async def keys(control: Control, _call: Call[None]) -> KeysAnswer:
    """Says which keys sign."""
    return await control.gateways.keys()


ROUTES = (
    Route(
        method="GET",
        path="/routes/{id}",
        kind="json",
        handler=route,
        summary="Where a workspace is and who may reach it",
        answer=RouteAnswer,
    ),
    Route(
        method="GET",
        path="/changes",
        kind="json",
        handler=changes,
        summary="Which workspaces changed",
        shape=ChangesQuery,
        answer=ChangesAnswer,
    ),
    Route(
        method="GET",
        path="/keys",
        kind="json",
        handler=keys,
        summary="The public keys of gateway tokens",
        answer=KeysAnswer,
    ),
)

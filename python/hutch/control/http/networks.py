"""Rows for a workspace's network.

Source: wire contract, section 9.
"""

from __future__ import annotations

from hutch.control.composition import Control
from hutch.control.http.workspaces import client_of
from hutch.routing.table import Call, Route
from hutch.wire.control.network import NetworkAnswer, PolicyBody


async def get(control: Control, call: Call[None]) -> NetworkAnswer:
    """Answers with the network of a workspace."""
    return await control.networks.get(client_of(call), call.params["id"])


async def update(control: Control, call: Call[PolicyBody]) -> NetworkAnswer:
    """Changes what is given, all of it or nothing."""
    return await control.networks.update(client_of(call), call.params["id"], call.asked)


ROUTES = (
    Route(
        method="GET",
        path="/workspace/{id}/network",
        kind="json",
        handler=get,
        summary="The network of a workspace",
        answer=NetworkAnswer,
    ),
    Route(
        method="PATCH",
        path="/workspace/{id}/network",
        kind="json",
        handler=update,
        summary="Change the network of a workspace",
        shape=PolicyBody,
        source="body",
        answer=NetworkAnswer,
    ),
)

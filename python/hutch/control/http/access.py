"""Rows for access to the server in a workspace, under both names of it.

Source: wire contract, section 9.
"""

from __future__ import annotations

from hutch.control.composition import Control
from hutch.control.http.workspaces import client_of
from hutch.routing.table import Call, Route
from hutch.wire.control.access import AccessStatus, AccessToken, RawToken


async def status(control: Control, call: Call[None]) -> AccessStatus:
    """Says what is asked for and what is."""
    return await control.access.status(client_of(call), call.params["id"])


async def enable(control: Control, call: Call[None]) -> AccessToken:
    """Has the server run; answers with a token."""
    return await control.access.enable(client_of(call), call.params["id"])


async def disable(control: Control, call: Call[None]) -> AccessStatus:
    """Ends the server and all that it runs."""
    return await control.access.disable(client_of(call), call.params["id"])


async def token(control: Control, call: Call[None]) -> AccessToken:
    """Answers with a new token, which voids none."""
    return await control.access.token(client_of(call), call.params["id"])


async def rotate(control: Control, call: Call[None]) -> AccessToken:
    """Replaces the raw token and voids every other one."""
    return await control.access.rotate(client_of(call), call.params["id"])


async def raw(control: Control, call: Call[None]) -> RawToken:
    """Answers with what a direct connection needs."""
    return await control.access.raw(client_of(call), call.params["id"])


async def reconnect(control: Control, call: Call[None]) -> AccessStatus:
    """Makes sure of the server."""
    return await control.access.reconnect(client_of(call), call.params["id"])


async def long_token(control: Control, call: Call[None]) -> AccessToken:
    """Answers with a token that lasts 30 days."""
    return await control.access.long_token(client_of(call), call.params["id"])


ROUTES = tuple(
    Route(
        method=method,  # type: ignore[arg-type]  # a tuple's strings are no literals
        path=f"/workspace/{{id}}/{name}{tail}",
        kind="json",
        handler=handler,
        summary=summary,
        answer=answer,
    )
    for name in ("runtime-api-access", "internal-api-access")
    for method, tail, handler, answer, summary in (
        ("GET", "", status, AccessStatus, "Whether the server is enabled, and whether it answers"),
        ("POST", "/enable", enable, AccessToken, "Enable the server; a gateway token"),
        ("POST", "/disable", disable, AccessStatus, "Disable the server; every token is void"),
        ("GET", "/token", token, AccessToken, "A gateway token; revokes nothing"),
        ("POST", "/token", rotate, AccessToken, "Replace the raw token and revoke every other"),
        ("GET", "/token/raw", raw, RawToken, "The raw token and where to bring it"),
        ("POST", "/reconnect", reconnect, AccessStatus, "Make sure of the server"),
        ("POST", "/workspace", long_token, AccessToken, "A gateway token for 30 days"),
    )
)

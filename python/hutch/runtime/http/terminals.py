"""`/terminals` and below.

Belongs here: these rows. Source: wire contract, section 5; reference, "Terminal Sessions".
"""

from __future__ import annotations

import msgspec

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.runtime.terminals.answers import ScrollbackAnswer
from hutch.server.streaming import Exchange, respond
from hutch.wire.errors import Failure
from hutch.wire.terminals import (
    Scrollback,
    ScrollbackQuery,
    TerminalBody,
    TerminalClosed,
    TerminalCreated,
    TerminalList,
)

_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


async def create(runtime: Runtime, call: Call[TerminalBody]) -> TerminalCreated:
    """Starts a program on a terminal of its own."""
    session = await runtime.terminals.create(call.asked)
    return TerminalCreated(**msgspec.structs.asdict(session.facts()))


async def list_terminals(runtime: Runtime, _call: Call[None]) -> TerminalList:
    """Answers with every session, ended ones too."""
    return TerminalList(terminals=[one.facts() for one in runtime.terminals.all()])


async def close(runtime: Runtime, call: Call[None]) -> TerminalClosed:
    """Ends a session's tree and forgets it."""
    session = runtime.terminals.get(call.params["id"])
    await runtime.terminals.close(session)
    return TerminalClosed(terminal_id=str(session.number))


async def missing_id(_runtime: Runtime, _call: Call[None]) -> TerminalClosed:
    """Refuses to close a terminal that is not named, as the reference has it."""
    raise Failure("bad_request", "id: missing; the path is /terminals/{id}")


async def scrollback(runtime: Runtime, call: Call[ScrollbackQuery], exchange: Exchange) -> None:
    """Answers with the end of what a terminal wrote."""
    session = runtime.terminals.get(call.params["id"])
    answer = ScrollbackAnswer(session, call.asked.bytes)
    await respond(exchange, status=200, headers=_JSON, source=answer)


ROUTES = (
    Route(
        method="POST",
        path="/terminals",
        kind="json",
        handler=create,
        summary="Open a terminal",
        shape=TerminalBody,
        source="body",
        answer=TerminalCreated,
        status=201,
    ),
    Route(
        method="GET",
        path="/terminals",
        kind="json",
        handler=list_terminals,
        summary="List terminals",
        answer=TerminalList,
    ),
    Route(
        method="DELETE",
        path="/terminals/{id}",
        kind="json",
        handler=close,
        summary="Close a terminal: end all that runs in it",
        answer=TerminalClosed,
    ),
    Route(
        method="DELETE",
        path="/terminals/",
        kind="json",
        handler=missing_id,
        summary="A terminal without an id: 400",
        status=400,
    ),
    Route(
        method="GET",
        path="/terminals/{id}/scrollback",
        kind="stream",
        handler=scrollback,
        summary="The end of what a terminal wrote",
        shape=ScrollbackQuery,
        answer=Scrollback,
    ),
)

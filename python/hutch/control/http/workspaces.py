"""Rows for workspaces: `/workspace`, `/workspace/{id}` and what starts and stops them.

Source: wire contract, section 9.
"""

from __future__ import annotations

from hutch.control.composition import Control
from hutch.control.http.auth import CLIENT_ID
from hutch.routing.table import Answer, Call, Route
from hutch.wire.control.workspaces import (
    CreateBody,
    DeletedAnswer,
    ListQuery,
    UpdateBody,
    Workspace,
    WorkspaceAnswer,
    WorkspacesAnswer,
)


def client_of(call: Call[object]) -> str:
    """The client who asks; its secret was right (`auth`)."""
    return call.headers[CLIENT_ID].decode("latin-1")


def _told(workspace: Workspace) -> WorkspaceAnswer:
    return WorkspaceAnswer(workspace=workspace, warnings=workspace.warnings)


async def create(control: Control, call: Call[CreateBody]) -> Answer:
    """Makes a workspace; 200 where the same request made it before."""
    workspace, is_new = await control.workspaces.create(client_of(call), call.asked)
    return Answer(_told(workspace), status=201 if is_new else 200)


async def page(control: Control, call: Call[ListQuery]) -> WorkspacesAnswer:
    """Answers with a page of the client's workspaces."""
    found, total = await control.workspaces.page(client_of(call), call.asked)
    return WorkspacesAnswer(
        workspaces=found, total=total, page=call.asked.page, limit=call.asked.limit
    )


async def get(control: Control, call: Call[None]) -> WorkspaceAnswer:
    """Answers with one workspace."""
    return _told(await control.workspaces.get(client_of(call), call.params["id"]))


async def update(control: Control, call: Call[UpdateBody]) -> WorkspaceAnswer:
    """Changes what is given."""
    return _told(await control.workspaces.update(client_of(call), call.params["id"], call.asked))


async def delete(control: Control, call: Call[None]) -> DeletedAnswer:
    """Deletes a workspace."""
    return DeletedAnswer(id=await control.workspaces.delete(client_of(call), call.params["id"]))


async def start(control: Control, call: Call[None]) -> WorkspaceAnswer:
    """Has it run."""
    return _told(await control.workspaces.start(client_of(call), call.params["id"]))


async def stop(control: Control, call: Call[None]) -> WorkspaceAnswer:
    """Has it stopped."""
    return _told(await control.workspaces.stop(client_of(call), call.params["id"]))


async def restart(control: Control, call: Call[None]) -> WorkspaceAnswer:
    """Has it stopped and run again."""
    return _told(await control.workspaces.restart(client_of(call), call.params["id"]))


async def retry(control: Control, call: Call[None]) -> WorkspaceAnswer:
    """Tries again to make one that could not be made."""
    return _told(await control.workspaces.retry(client_of(call), call.params["id"]))


ROUTES = (
    Route(
        method="POST",
        path="/workspace",
        kind="json",
        handler=create,
        summary="Make a workspace",
        shape=CreateBody,
        source="body",
        answer=WorkspaceAnswer,
        status=201,
        other_statuses=(200,),
    ),
    Route(
        method="GET",
        path="/workspace",
        kind="json",
        handler=page,
        summary="List workspaces",
        shape=ListQuery,
        answer=WorkspacesAnswer,
    ),
    Route(
        method="GET",
        path="/workspace/{id}",
        kind="json",
        handler=get,
        summary="One workspace, by id or slug",
        answer=WorkspaceAnswer,
    ),
    Route(
        method="PUT",
        path="/workspace/{id}",
        kind="json",
        handler=update,
        summary="Change a workspace",
        shape=UpdateBody,
        source="body",
        answer=WorkspaceAnswer,
    ),
    Route(
        method="DELETE",
        path="/workspace/{id}",
        kind="json",
        handler=delete,
        summary="Delete a workspace with everything in it",
        answer=DeletedAnswer,
    ),
    *(
        Route(
            method="POST",
            path=f"/workspace/{{id}}/{verb}",
            kind="json",
            handler=handler,
            summary=summary,
            answer=WorkspaceAnswer,
        )
        for verb, handler, summary in (
            ("start", start, "Have a workspace run"),
            ("stop", stop, "Stop a workspace"),
            ("restart", restart, "Stop a workspace and have it run again"),
            ("provisioning/retry", retry, "Make a workspace that could not be made"),
        )
    ),
)

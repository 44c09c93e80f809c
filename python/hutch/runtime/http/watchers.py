"""`/watchers` and below.

Belongs here: these rows. Source: wire contract, section 6; reference, "File Watcher".
"""

from __future__ import annotations

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.server.streaming import Exchange, respond
from hutch.wire.watchers import (
    Changes,
    ChangesQuery,
    WatchBody,
    Watcher,
    WatcherDeleted,
    WatcherList,
    watcher_answer,
)

_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


async def create(runtime: Runtime, call: Call[WatchBody]) -> Watcher:
    """Watches a directory, and answers once its tree was read."""
    return watcher_answer(await runtime.watchers.create(call.asked))


async def list_watchers(runtime: Runtime, _call: Call[None]) -> WatcherList:
    """Answers with every watcher."""
    return WatcherList(watchers=runtime.watchers.all())


async def show(runtime: Runtime, call: Call[None]) -> Watcher:
    """Answers with one watcher."""
    return watcher_answer(runtime.watchers.get(call.params["id"]))


async def delete(runtime: Runtime, call: Call[None]) -> WatcherDeleted:
    """Ends a watcher."""
    runtime.watchers.delete(call.params["id"])
    return WatcherDeleted()


async def changes(runtime: Runtime, call: Call[ChangesQuery], exchange: Exchange) -> None:
    """Answers with what has changed since, at once or when something does."""
    asked = call.asked
    await respond(
        exchange,
        status=200,
        headers=_JSON,
        source=runtime.watchers.changes(call.params["id"], since=asked.since, wait=asked.wait),
        # A blank before the object, so that no proxy gives up.
        keepalive=b" ",
        keepalive_after=runtime.config.limits.silence_seconds,
    )


ROUTES = (
    Route(
        method="POST",
        path="/watchers",
        kind="json",
        handler=create,
        summary="Watch a directory",
        shape=WatchBody,
        source="body",
        answer=Watcher,
    ),
    Route(
        method="GET",
        path="/watchers",
        kind="json",
        handler=list_watchers,
        summary="List watchers",
        answer=WatcherList,
    ),
    Route(
        method="GET",
        path="/watchers/{id}",
        kind="json",
        handler=show,
        summary="One watcher",
        answer=Watcher,
    ),
    Route(
        method="DELETE",
        path="/watchers/{id}",
        kind="json",
        handler=delete,
        summary="End a watcher",
        answer=WatcherDeleted,
    ),
    Route(
        method="GET",
        path="/watchers/{id}/changes",
        kind="stream",
        handler=changes,
        summary="What has changed since an event",
        shape=ChangesQuery,
        answer=Changes,
    ),
)

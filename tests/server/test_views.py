"""Rows of a table over Quart-Trio: what becomes of a handler whose client has left."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio

from hutch.routing.table import Answer, Call, Route, Table
from hutch.routing.views import quart_app

SCOPE: dict[str, Any] = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
    "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "",
    "headers": [], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
}  # fmt: skip


class Held:
    """Stands for a descriptor that is closed when nobody knows it any more."""


@pytest.mark.trio
async def test_what_a_cancelled_handler_held_does_not_wait_for_the_collector() -> None:
    begun = trio.Event()
    known: list[weakref.ref[Held]] = []
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def handler(_service: object, _call: Call[None]) -> Answer:
        held = [Held()]
        known.append(weakref.ref(held[0]))
        # As work in a thread does it: the cancellation comes out of a nursery, in a group.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            begun.set()
        return Answer(None)

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        await trio.lowlevel.checkpoint()

    route = Route(method="GET", path="/", kind="json", handler=handler, summary="")
    app: Any = quart_app(None, Table((route,)), 1000)
    gc.collect()
    gc.disable()
    try:
        await app(SCOPE, receive, send)
        assert [one() for one in known] == [None]
    finally:
        gc.enable()

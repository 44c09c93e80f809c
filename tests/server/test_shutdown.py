"""The end of a server: at once where nobody is served, soon whatever clients do."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest
import trio
import trio.testing

from hutch.server import ServerConfig, serve
from hutch.wire.config import Limits
from tests.server.site import (
    PATIENCE,
    Server,
    Site,
    Wire,
    begun,
    get,
    hello,
    http_only,
    reply,
    still_descriptors,
)

LONG = 60.0


async def _under_way(site: Site, work: Work, **limits: Any) -> tuple[Server, Wire]:
    """A server with one request under way."""
    server = await site.serve(work.app, **limits)
    wire = await server.connect()
    await wire.send(get("/"))
    await work.begun.wait()
    return server, wire


class Work:
    """An application with a request under way for as long as the gate is shut."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.gate = trio.Event()
        self.cleaned = False
        self.app = http_only(self._work)

    async def _work(self, _scope: Any, _receive: Any, send: Any) -> None:
        self.begun.set()
        try:
            await self.gate.wait()
            await reply(send)
        finally:
            self.cleaned = True


async def _stop_within(server: Server, seconds: float) -> None:
    server.shutdown.set()
    with trio.fail_after(seconds):
        await server.ended.wait()


async def test_idle_connections_do_not_delay_the_end(site: Site) -> None:
    server = await site.serve(hello, grace_seconds=LONG)
    used, fresh, half = [await server.connect() for _ in range(3)]
    await used.send(get("/"))
    await used.answer()
    await half.send(b"GET / HT")
    await trio.testing.wait_all_tasks_blocked()
    await _stop_within(server, 5)
    for one in (used, fresh, half):
        await one.closed()


async def test_a_request_under_way_is_finished_and_told_to_close(site: Site) -> None:
    work = Work()
    server, wire = await _under_way(site, work, grace_seconds=LONG)
    server.shutdown.set()
    await trio.testing.wait_all_tasks_blocked()
    work.gate.set()
    answer = await wire.answer()
    assert answer.body == b"hello"
    assert answer.headers[b"connection"] == b"close"
    await _stop_within(server, 5)


async def test_nothing_is_accepted_any_more(site: Site) -> None:
    work = Work()
    server, _ = await _under_way(site, work, grace_seconds=LONG)
    server.shutdown.set()
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", server.port)
    work.gate.set()
    await _stop_within(server, 5)


async def test_after_the_grace_what_is_under_way_is_cancelled_and_cleaned_up(site: Site) -> None:
    work = Work()
    server, wire = await _under_way(site, work, grace_seconds=0.1)
    await _stop_within(server, 5)
    assert work.cleaned
    await wire.closed()


@http_only
async def _endless(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})


@http_only
async def _reads(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await reply(send)


HOSTILE = {
    "takes nothing": (_endless, get("/")),
    "stalls its body": (_reads, begun("/", 9)),
    "stalls after an early answer": (
        hello,
        begun("/", 9),
    ),
    "pipelines": (_endless, get("/") * 3000),
}


@pytest.mark.parametrize(("app", "raw"), HOSTILE.values(), ids=HOSTILE)
async def test_no_client_holds_the_end_up_and_nothing_leaks(
    site: Site, app: Any, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with still_descriptors():
        server = await site.serve(app, grace_seconds=0.2, drain_seconds=0.5)
        for _ in range(5):
            wire = await server.connect(receive_buffer=4096)
            with trio.move_on_after(1):
                await wire.send(raw)
        await _stop_within(server, 5)
        for one in server.wires:
            await one.stream.aclose()
    assert "Traceback" not in caplog.text


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = ServerConfig(host="127.0.0.1", port=taken.getsockname()[1], limits=Limits())
        with pytest.raises(OSError):
            await serve(hello, config, shutdown=trio.Event())


async def test_an_application_that_cannot_start_ends_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no disk"})

    config = ServerConfig(host="127.0.0.1", port=0, limits=Limits())
    with caplog.at_level(logging.ERROR), trio.fail_after(PATIENCE):
        with pytest.raises(BaseException) as raised:  # a group or not
            await serve(app, config, shutdown=trio.Event())
    assert "no disk" in str(raised.getrepr())

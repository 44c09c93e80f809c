"""Quart-Trio on this server: what it does to the connection that plain ASGI does not."""

from __future__ import annotations

import pytest
import trio
from quart import request, websocket
from quart_trio import QuartTrio
from wsproto.events import CloseConnection, TextMessage

from tests.server.site import Site, begun, get, post
from tests.server.test_websocket import opened, upgrade


class Quart:
    """An application, and what became of its handlers."""

    def __init__(self) -> None:
        self.app = QuartTrio(__name__)
        self.app.config["BODY_TIMEOUT"] = None
        self.app.config["RESPONSE_TIMEOUT"] = None
        self.begun = trio.Event()
        self.ended = trio.Event()
        self.endings: list[str] = []
        self.app.add_url_rule("/", "hello", self.hello)
        self.app.add_url_rule("/slow", "slow", self.slow)
        self.app.add_url_rule("/echo", "echo", self.echo, methods=["POST"])
        self.app.add_url_rule("/refuse", "refuse", self.refuse, methods=["POST"])
        self.app.add_websocket("/ws", "ws", self.ws)
        self.app.add_websocket("/flood", "flood", self.flood)

    async def hello(self) -> str:
        return "hello"

    async def echo(self) -> bytes:
        return bytes(await request.get_data())  # type: ignore[arg-type]  # not text

    async def refuse(self) -> tuple[str, int]:
        return "too large", 413

    async def slow(self) -> str:
        await self._forever()
        return ""

    async def ws(self) -> None:
        while True:
            await websocket.send(await websocket.receive())

    async def flood(self) -> None:
        try:
            while True:
                await websocket.send("x" * 1000)
        except trio.Cancelled:
            self.endings.append("cancelled")
            raise
        finally:
            self.ended.set()

    async def _forever(self) -> None:
        self.begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.endings.append("cancelled")
            raise
        finally:
            self.ended.set()


async def test_connection_close_closes(site: Site) -> None:
    """The trap: the answer was sent, the socket stayed open."""
    server = await site.serve(Quart().app)
    wire = await server.connect()
    await wire.send(get("/", "Connection: close"))
    assert (await wire.answer()).body == b"hello"
    await wire.closed()


async def test_requests_follow_each_other(site: Site) -> None:
    server = await site.serve(Quart().app)
    wire = await server.connect()
    await wire.send(b"".join(post("/echo", b"%d" % one) for one in range(20)))
    for one in range(20):
        assert (await wire.answer()).body == b"%d" % one


async def test_a_large_body_arrives(site: Site) -> None:
    server = await site.serve(Quart().app)
    answer = await server.ask(post("/echo", b"x" * 5_000_000))
    assert answer.body == b"x" * 5_000_000


async def test_an_early_answer_does_not_wedge_the_connection(site: Site) -> None:
    server = await site.serve(Quart().app, drain_seconds=2.0)
    wire = await server.connect()
    await wire.send(begun("/refuse", 500000))
    assert (await wire.answer()).status == 413
    await wire.send(b"x" * 499_997 + get("/"))
    assert (await wire.answer()).body == b"hello"


async def test_a_client_that_leaves_cancels_the_handler(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    quart = Quart()
    server = await site.serve(quart.app)
    wire = await server.connect()
    await wire.send(get("/slow"))
    await quart.begun.wait()
    await wire.stream.aclose()
    with trio.fail_after(5):
        await quart.ended.wait()
    assert quart.endings == ["cancelled"]
    assert (await server.ask(get("/"))).body == b"hello"
    assert "Traceback" not in caplog.text


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_trace(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    server = await site.serve(Quart().app)
    wire = await server.connect()
    await wire.send(begun("/echo", 100))
    await wire.stream.aclose()
    assert (await server.ask(get("/"))).body == b"hello"
    assert caplog.text == ""


async def test_a_stalled_body_is_answered_408(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    server = await site.serve(Quart().app, body_idle_seconds=0.1)
    wire = await server.connect()
    await wire.send(begun("/echo", 100))
    answer = await wire.answer()
    assert (answer.status, answer.failure["code"]) == (408, "timeout")
    await wire.closed()
    assert "Traceback" not in caplog.text


async def test_a_broken_body_is_answered_400(site: Site) -> None:
    server = await site.serve(Quart().app)
    wire = await server.connect()
    await wire.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert (await wire.answer()).failure["code"] == "bad_request"
    await wire.closed()


async def test_websocket_messages_and_the_client_closing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    server = await site.serve(Quart().app)
    async with opened(server) as socket:
        await socket.send(TextMessage(data="hello"))
        assert await socket.message() == "hello"
        await socket.send(CloseConnection(code=1000))
        assert (await socket.closing())[0] == 1000
        assert await socket.wire.all() == b""
    assert "Traceback" not in caplog.text


async def test_a_websocket_that_quart_does_not_know_is_refused(site: Site) -> None:
    server = await site.serve(Quart().app)
    answer = await server.ask(upgrade().replace(b"/ws", b"/other"))
    assert answer.status == 404


async def test_a_loop_of_sends_to_a_websocket_that_left_stops(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The trap: it froze the event loop. Nor must Quart log it as an error of the handler."""
    quart = Quart()
    server = await site.serve(quart.app)
    wire = await server.connect()
    await wire.send(upgrade().replace(b"/ws", b"/flood"))
    assert (await wire.answer()).status == 101
    await wire.some()
    await wire.stream.aclose()
    with trio.fail_after(5):
        await quart.ended.wait()
    assert quart.endings == ["cancelled"]
    assert (await server.ask(get("/"))).body == b"hello"
    assert "Traceback" not in caplog.text


async def test_shutdown_cancels_handlers_and_ends(site: Site) -> None:
    quart = Quart()
    server = await site.serve(quart.app, grace_seconds=0.1)
    wire = await server.connect()
    await wire.send(get("/slow"))
    await quart.begun.wait()
    await server.stop()
    assert quart.endings == ["cancelled"]

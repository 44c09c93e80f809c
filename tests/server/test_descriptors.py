"""Connections without number: the server keeps its descriptors, and its temper."""

from __future__ import annotations

import errno
import logging
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from hutch.server import inherited_limit
from hutch.server.census import Census
from hutch.server.descriptors import RESERVED, raise_limit
from hutch.server.listening import open_listeners
from hutch.server.stalls import Stalls
from hutch.server.transport import Transport
from hutch.wire.config import Limits
from tests.server.site import (
    Server,
    Site,
    eventually,
    get,
    hello,
    http_only,
    reply,
    still_descriptors,
)


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """A soft limit a little above what is open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = socket.socket()
    limit = probe.fileno() + 60
    probe.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_and_the_old_one_kept() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        assert raise_limit() == hard - RESERVED
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert inherited_limit()[1] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_out_of_descriptors_the_accept_loop_neither_dies_nor_spins(
    site: Site, few_descriptors: int, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    # The limit is not raised here: it is the test's.
    monkeypatch.setattr("hutch.server.raise_limit", lambda: 1_000_000)
    tries = 0

    def shed(_census: Census) -> bool:
        nonlocal tries
        tries += 1
        return False

    monkeypatch.setattr(Census, "shed", shed)
    server = await site.serve(hello)
    held = []
    wires = []
    with caplog.at_level(logging.ERROR):
        with pytest.raises(OSError) as refused:
            while True:
                held.append(socket.socket())
        assert refused.value.errno == errno.EMFILE
        held.pop().close()
        wires.append(await server.connect())  # the client's end takes the last one
        await eventually(lambda: "cannot accept" in caplog.text, "no word of it")
        await trio.sleep(0.5)
        assert tries < 10
        lines = [one for one in caplog.records if "cannot accept" in one.message]
        assert len(lines) <= 2
        assert "Traceback" not in caplog.text
    for one in held:
        one.close()
    await wires[0].send(get("/"))
    assert (await wires[0].answer()).body == b"hello"


def _transports(count: int) -> tuple[list[Transport], list[socket.socket]]:
    stalls = Stalls(Limits())
    made, ends = [], []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        made.append(Transport(ours, stalls))
        ends.append(theirs)
    return made, ends


async def test_strangers_give_way_and_those_let_through_stay() -> None:
    census = Census(4)
    assert census.most_strangers == 2
    (a, b, c, d, e, f, g), ends = _transports(7)
    assert census.admit(a) and census.admit(b)
    assert census.admit(c)  # the oldest stranger gives way
    assert [one.is_open for one in (a, b, c)] == [False, True, True]
    for one in (b, c):
        census.let_through(one)
    assert census.admit(d) and census.admit(e)
    assert len(census) == 4
    assert census.admit(f)  # full: again a stranger gives way
    assert not d.is_open
    for one in (e, f):
        census.let_through(one)
    assert not census.admit(g)  # full of those who may
    assert all(one.is_open for one in (b, c, e, f))
    census.leave(b)
    assert census.admit(g)
    for one in (b, c, e, f, g):
        one.close()
    for end in ends:
        end.close()


@http_only
async def _lets_through(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/in":
        scope["state"]["authenticated"] = True
    await receive()
    await reply(send)


async def _small(site: Site, monkeypatch: Any, most: int) -> Server:
    monkeypatch.setattr("hutch.server.raise_limit", lambda: most)
    return await site.serve(_lets_through)


async def test_idle_strangers_do_not_keep_out_a_client_with_a_token(
    site: Site, monkeypatch: Any
) -> None:
    server = await _small(site, monkeypatch, 10)
    known = await server.connect()
    await known.send(get("/in"))
    await known.answer()
    strangers = [await server.connect() for _ in range(30)]
    for one in strangers[:-5]:
        await one.all()
    fresh = await server.connect()
    for one in (fresh, known):
        await one.send(get("/in"))
        assert (await one.answer()).body == b"hello"


async def test_a_server_full_of_known_clients_answers_503(site: Site, monkeypatch: Any) -> None:
    server = await _small(site, monkeypatch, 3)
    for _ in range(3):
        wire = await server.connect()
        await wire.send(get("/in"))
        await wire.answer()
    late = await server.connect()
    answer = await late.answer()
    assert answer.status == 503
    assert answer.failure["code"] == "unavailable"
    await late.closed()


async def test_connections_leave_no_descriptor_behind(site: Site) -> None:
    server = await site.serve(hello)
    async with still_descriptors():
        for raw in (get("/"), get("/", "Connection: close"), b"", b"nonsense\r\n\r\n", b"GET"):
            for _ in range(10):
                wire = await server.connect()
                await wire.send(raw)
                await wire.stream.aclose()


async def test_listeners_reach_no_child() -> None:
    with open_listeners("127.0.0.1", 0, Limits()) as [listener]:
        assert not listener.get_inheritable()


OPTIONS = {
    "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "no delay": (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    "user timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 330_000),
}


@pytest.mark.parametrize(("level", "option", "value"), OPTIONS.values(), ids=OPTIONS)
async def test_connections_inherit_the_options(level: int, option: int, value: int) -> None:
    with open_listeners("127.0.0.1", 0, Limits()) as [listener]:
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(level, option) == value


async def test_a_burst_of_connections_has_room_to_wait() -> None:
    with open_listeners("127.0.0.1", 0, Limits()) as [listener]:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        # tcpi_sacked: of a listener, its backlog.
        assert int.from_bytes(info[28:32], "little") == 1024

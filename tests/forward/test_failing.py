"""Upstreams that are not there, hang, break off, or say what is no HTTP.

What the client is told, and what it must not take for an answer that is whole.
Source: wire contract, sections 1, 8 and 10.
"""

from __future__ import annotations

import socket

import pytest
import trio

from hutch.forward import Upstream
from hutch.forward.link import Link, dial
from hutch.server.stalls import Stalls
from hutch.server.transport import Transport
from hutch.wire.config import Limits
from hutch.wire.errors import Failure
from tests.forward.upstreams import OK, Peer, Relay, Script, says
from tests.server.site import Answer, begun, get, post


def told(answer: Answer, status: int, *, arrived: bool) -> str:
    failure = answer.failure
    assert (answer.status, failure["may_have_arrived"]) == (status, arrived), failure
    assert ("may have arrived" if arrived else "has not arrived") in failure["error"]
    return str(failure["error"])


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
    return port


async def test_nothing_listening_is_502_at_once(relay: Relay) -> None:
    port = closed_port()
    server = await relay.to(port)
    for raw in (get("/"), post("/", b"abc")):
        error = told(await server.ask(raw), 502, arrived=False)
        assert f"port {port}" in error and "nothing listens there" in error


async def test_the_first_address_says_why() -> None:
    """Not a second one, which this machine may not even have."""
    addresses = (("127.0.0.1", closed_port()), ("ff02::1", 80))
    with pytest.raises(Failure, match="nothing listens there"):
        await dial(Upstream("it", addresses), seconds=5, idle_seconds=5)


async def test_nobody_accepts_is_504(relay: Relay) -> None:
    """A listener whose queue is full: the kernel answers nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as one:
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(one.getsockname())
            fillers.append(filler)
        server = await relay.to(one.getsockname()[1], connect_seconds=0.3)
        error = told(await server.ask(get("/")), 504, arrived=False)
        assert "0.3 s" in error
        for filler in fillers:
            filler.close()


async def hangs(peer: Peer) -> None:
    await peer.head()
    await peer.all()


async def test_an_upstream_that_says_nothing_is_504(relay: Relay) -> None:
    server = await relay.to(hangs, upstream_idle_seconds=0.3)
    told(await server.ask(get("/")), 504, arrived=True)


async def test_only_silence_counts_not_the_whole(relay: Relay) -> None:
    """An answer, and an upload, longer than the deadline, whose pieces come in time."""

    async def slowly(peer: Peer) -> None:
        await peer.head()
        got = 0
        while got < 8:
            got += len(await peer.some())
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await trio.sleep(0.1)
            await peer.send(b"x")

    server = await relay.to(slowly, upstream_idle_seconds=0.4)
    wire = await server.connect()
    await wire.send(begun("/", 8, b""))
    for _ in range(8):
        await trio.sleep(0.1)
        await wire.send(b"x")
    assert (await wire.answer()).body == b"x" * 8


async def test_silence_in_the_middle_of_an_answer_cuts_it(relay: Relay) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await peer.all()

    server = await relay.to(script, upstream_idle_seconds=0.3)
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.until(b"abc\r\n")
    await wire.closed()


async def resets(peer: Peer) -> None:
    await peer.head()
    peer.reset()


BOMB = b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 2000 + b"\r\n"
NO_ANSWERS: dict[str, Script] = {
    "closes": says(b""),
    "resets": resets,
    "garbage": says(b"\0\1\2garbage\r\n\r\n"),
    "speaks first, and TLS": says(b"\x15\x03\x01\x00\x02\x02\x28"),
    "half a head": says(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n"),
    "two lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "no length": says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    "odd coding": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    "101 unasked": says(b"HTTP/1.1 101 Switching\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n"),
    "informational flood": says(b"HTTP/1.1 102 Wait\r\n\r\n" * 100_000),
    "100 flood": says(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000),
    "many headers": says(BOMB),
    "large headers": says(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 1_000_000),
    "HTTP/2": says(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\0\4\2\0\0\0\0\2\0\0\0\0"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
@pytest.mark.parametrize("raw", [get("/"), post("/", b"abc")], ids=["GET", "POST"])
async def test_no_good_answer_is_502(relay: Relay, name: str, raw: bytes) -> None:
    server = await relay.to(NO_ANSWERS[name])
    wire = await server.connect()
    await wire.send(raw)
    answer = await wire.answer()
    while answer.status < 200:
        answer = await wire.answer()
    told(answer, 502, arrived=True)


BROKEN = {
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    "bad trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n: \r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_breaks_off_is_seen_to(relay: Relay, name: str) -> None:
    server = await relay.to(says(BROKEN[name]))
    wire = await server.connect()
    await wire.send(get("/"))
    got = await wire.all()
    assert b"HTTP/1.1 200 OK" in got and b"abc" in got
    assert not got.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_reset_is_no_end(relay: Relay, version: str) -> None:
    """An answer without a length ends with its connection, and a reset is not that end."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await read.wait()
        peer.reset()

    read = trio.Event()
    server = await relay.to(script)
    wire = await server.connect()
    await wire.send(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
    await wire.until(b"abc")
    read.set()
    if version == "1.1":
        assert b"0\r\n\r\n" not in await wire.all()
    else:
        with pytest.raises(trio.BrokenResourceError):
            await wire.stream.receive_some()


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_what_two_servers_may_read_differently_is_never_passed_on(
    relay: Relay, raw: bytes
) -> None:
    server = await relay.to(says(OK))
    answer = await server.ask(raw)
    assert (answer.status, answer.failure["code"]) == (400, "bad_request")
    assert relay.dialled == 0


async def test_a_body_that_is_badly_framed_ends_the_request(relay: Relay) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        ends.append(await peer.all())

    ends: list[bytes] = []
    server = await relay.to(script)
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"
    answer = await server.ask(raw)
    assert answer.status == 400
    assert ends and not ends[0].endswith(b"0\r\n\r\n")


async def test_an_upstreams_trailers_of_countless_lines_end_the_answer(relay: Relay) -> None:
    """Parsed at once they kept all other clients out, of a gateway too."""
    chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    for count in (900, 3_000):
        server = await relay.to(says(chunk + b"a:b\r\n" * count + b"\r\n"))
        wire = await server.connect()
        await wire.send(get("/", "Connection: close"))
        await wire.until(b"abc\r\n")
        assert (b"0\r\n" in await wire.all()) == (count < 1000)


@pytest.mark.parametrize("kind", ["client", "upstream"])
async def test_a_message_of_more_pieces_than_the_kernel_takes_at_once_is_sent(kind: str) -> None:
    """An answer with over a thousand trailers was cut, as if its client had left."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    pieces = [b"%d\r\n" % count for count in range(5000)]
    if kind == "client":
        await Transport(ours, Stalls(Limits())).send(pieces)
    else:
        await Link(ours, 5).send(pieces, is_wanted=lambda: True)
    with theirs:
        ours.close()
        assert theirs.makefile("rb").read() == b"".join(pieces)


async def test_a_flood_of_small_chunks_lets_others_through(relay: Relay) -> None:
    server = await relay.to(
        says(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * 50_000
            + b"0\r\n\r\n"
        )
    )
    wire = await server.connect()
    await wire.send(get("/"))
    await server.lives()
    got = 0
    await wire.until(b"\r\n\r\n")
    while b"0\r\n\r\n" not in (piece := await wire.some()):
        got += piece.count(b"x")
    assert got > 10_000

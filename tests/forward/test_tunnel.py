"""WebSockets passed on: bytes both ways, and how a tunnel ends.

Source: wire contract, sections 8 and 10; RFC 6455.
"""

from __future__ import annotations

import itertools
import json
import logging
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from hutch.forward.ending import Frames, close_frame
from tests.forward.upstreams import Peer, Relay, says
from tests.server.site import PATIENCE, Server, Wire, get

UPGRADE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
TEXT = b"\x81\x05hello"  # a server's frame


async def opened(server: Server, path: str = "/", *headers: str) -> Wire:
    wire = await server.connect()
    await wire.send(get(path, *UPGRADE, *headers))
    assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return wire


def speaking(work: Callable[[Peer], Awaitable[None]]) -> Callable[[Peer], Awaitable[None]]:
    """An upstream that switches, then does `work`."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCHED)
        await work(peer)

    return script


async def echo(peer: Peer) -> None:
    while data := await peer.some():
        await peer.send(data)


async def until_end(peer: Peer) -> None:
    await peer.all()


async def test_the_handshake_passes_as_it_is(relay: Relay) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.head())
        await peer.send(
            b"HTTP/1.1 101 Here We Go\r\nUPGRADE: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: anything\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
            b"Sec-WebSocket-Protocol: b\r\nSet-Cookie: a=b\r\n\r\n\x81\x02hi"
        )
        await peer.all()

    server = await relay.to(script)
    wire = await server.connect()
    extra = ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Cookie: c")
    await wire.send(get("/a?b=%20c", *UPGRADE, *extra, "Sec-WebSocket-Protocol: a, b", "X-ODD: 1"))
    head = await wire.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Here We Go\r\n")
    for line in (
        b"Sec-WebSocket-Accept: anything",
        b"Sec-WebSocket-Extensions: permessage-deflate",
        b"Sec-WebSocket-Protocol: b",
        b"Set-Cookie: a=b",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
    ):
        assert head.count(line + b"\r\n") == 1
    assert await wire.exactly(4) == b"\x81\x02hi"
    assert heads[0].startswith(b"GET /a?b=%20c HTTP/1.1\r\nHost: up:")
    for sent in (*extra, "X-ODD: 1", *UPGRADE[2:], "Upgrade: websocket", "Connection: Upgrade"):
        assert heads[0].count(sent.encode() + b"\r\n") == 1


async def test_bytes_pass_whatever_they_mean(relay: Relay) -> None:
    """No frame is looked into: not one that is malformed, masked wrongly, or enormous."""
    server = await relay.to(speaking(echo))
    wire = await opened(server)
    data = bytes(range(256)) * 8000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, data)
        assert await wire.exactly(len(data)) == data


async def test_a_refusal_passes_whole(relay: Relay) -> None:
    server = await relay.to(
        says(
            b"HTTP/1.1 426 Upgrade\r\nX-Why: old\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n0\r\n\r\n"
        )
    )
    wire = await server.connect()
    await wire.send(get("/", *UPGRADE))
    answer = await wire.answer()
    assert (answer.status, answer.headers[b"x-why"], answer.body) == (426, b"old", b"no!")
    await wire.closed()


async def test_no_upstream_is_502(relay: Relay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    server = await relay.to(port)
    answer = await server.ask(get("/", *UPGRADE))
    assert (answer.status, answer.failure["may_have_arrived"]) == (502, False)


@pytest.mark.parametrize("said", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nX"])
async def test_no_good_handshake_is_502(relay: Relay, said: bytes) -> None:
    server = await relay.to(says(said))
    answer = await server.ask(get("/", *UPGRADE))
    assert (answer.status, answer.failure["may_have_arrived"]) == (502, True)


async def test_an_upstream_that_never_answers_is_504(relay: Relay) -> None:
    server = await relay.to(until_end, upstream_idle_seconds=0.2)
    answer = await server.ask(get("/", *UPGRADE))
    assert (answer.status, answer.failure["may_have_arrived"]) == (504, True)


async def test_a_client_that_leaves_before_the_answer_closes_the_upstream(relay: Relay) -> None:
    asked, closed = trio.Event(), trio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        assert await peer.all() == b""
        closed.set()

    server = await relay.to(script)
    for early in (b"", b"\x81\x80abcd"):  # frames before the answer: nobody may (RFC 6455, 4.1)
        asked, closed = trio.Event(), trio.Event()
        wire = await server.connect()
        await wire.send(get("/", *UPGRADE))
        await asked.wait()
        if early:
            await wire.send(early)
        else:
            await wire.stream.aclose()
        with trio.fail_after(2):
            await closed.wait()


async def test_half_closes_pass_both_ways(relay: Relay) -> None:
    async def last_words(peer: Peer) -> None:
        assert await peer.all() == b"bye"
        await peer.send(TEXT)

    server = await relay.to(speaking(last_words))
    wire = await opened(server)
    await wire.send(b"bye")
    await wire.stream.send_eof()
    assert await wire.all() == TEXT

    heard = trio.Event()

    async def first_to_go(peer: Peer) -> None:
        await peer.send(TEXT)
        await peer.stream.send_eof()
        assert await peer.exactly(10) == b"still here"
        assert await peer.stream.receive_some() == b""  # and no reset
        heard.set()

    server = await relay.to(speaking(first_to_go))
    wire = await opened(server)
    assert await wire.all() == TEXT
    await wire.send(b"still here")
    await wire.stream.aclose()
    with trio.fail_after(2):
        await heard.wait()


async def test_a_reset_of_either_cuts_both(relay: Relay) -> None:
    async def resets(peer: Peer) -> None:
        await peer.exactly(2)
        peer.reset()

    server = await relay.to(speaking(resets))
    wire = await opened(server)
    await wire.send(b"go")
    with pytest.raises(trio.BrokenResourceError):
        await wire.stream.receive_some()

    closed = trio.Event()

    async def waits(peer: Peer) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await peer.stream.receive_some()
        closed.set()

    server = await relay.to(speaking(waits))
    wire = await opened(server)
    wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await wire.stream.aclose()
    with trio.fail_after(2):
        await closed.wait()


async def test_a_client_that_half_closed_and_went_is_not_kept_for_a_silent_upstream(
    relay: Relay,
) -> None:
    """Two descriptors were held for each, as long as the upstream took no notice."""
    ended = trio.Event()

    async def takes_no_notice(peer: Peer) -> None:
        assert await peer.all() == b""
        ended.set()
        await trio.sleep_forever()

    server = await relay.to(speaking(takes_no_notice))
    wire = await opened(server)
    await wire.stream.send_eof()
    with trio.fail_after(PATIENCE):
        await ended.wait()
        assert not relay.done.is_set()
        wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await wire.stream.aclose()
        await relay.done.wait()


async def test_the_slower_end_sets_the_pace(relay: Relay) -> None:
    """In both directions: what is not taken stays where it is."""
    go = trio.Event()
    total = 40 << 20

    async def late(peer: Peer) -> None:
        await go.wait()
        got = 0
        while got < total:
            got += len(await peer.some())
        await peer.send(b"\x82\x7f" + total.to_bytes(8, "big"))
        for _ in range(40):
            await peer.send(bytes(1 << 20))
            moved["down"] += 1 << 20

    moved = {"up": 0, "down": 0}
    server = await relay.to(speaking(late))
    wire = await server.connect(receive_buffer=4096)
    await wire.send(get("/", *UPGRADE))
    await wire.until(b"\r\n\r\n")

    async def upload() -> None:
        for _ in range(40):
            await wire.send(bytes(1 << 20))
            moved["up"] += 1 << 20

    async def until_still(name: str) -> None:
        before = -1
        while before != moved[name]:
            before = moved[name]
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload)
        await until_still("up")
        assert moved["up"] < total * 3 // 4
        go.set()
    await until_still("down")
    assert moved["down"] < total * 3 // 4
    got = 0
    while got < total:
        got += len(await wire.some())


@pytest.mark.parametrize("kind", ["HTTP", "WebSocket"])
async def test_a_client_that_takes_nothing_is_cut_and_its_upstream_with_it(
    relay: Relay, kind: str
) -> None:
    ended = trio.Event()

    async def floods(peer: Peer) -> None:
        head = await peer.head()
        await peer.send(SWITCHED if b"Upgrade: " in head else b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                await peer.send(b"\x82\x7e\xff\xff" + bytes(0xFFFF))
        finally:
            ended.set()

    server = await relay.to(floods, send_idle_seconds=0.3)
    wire = await server.connect(receive_buffer=4096)
    await wire.send(get("/", *(UPGRADE if kind == "WebSocket" else ())))
    with trio.fail_after(PATIENCE):
        await ended.wait()
    await server.lives()


async def test_silence_is_no_fault(relay: Relay) -> None:
    """Neither the server's pings nor an upstream's deadline concern a tunnel."""
    server = await relay.to(
        speaking(echo), upstream_idle_seconds=0.1, ping_seconds=0.1, pong_seconds=0.2
    )
    wire = await opened(server)
    await trio.sleep(0.5)  # five times each
    await wire.send(TEXT)
    assert await wire.exactly(len(TEXT)) == TEXT


# --- ends in good order ------------------------------------------------------------------------


async def test_the_owner_ends_a_tunnel_between_two_frames(relay: Relay) -> None:
    server = await relay.to(speaking(echo))
    wire = await opened(server)
    await wire.send(TEXT)
    assert await wire.exactly(len(TEXT)) == TEXT
    relay.ending.end(1008, "revoked")
    assert await wire.all() == b"\x88\x09\x03\xf0revoked"


async def test_a_frame_under_way_is_finished_first(relay: Relay) -> None:
    go = trio.Event()

    async def half(peer: Peer) -> None:
        await peer.send(TEXT[:4])
        await go.wait()
        await peer.send(TEXT[4:] + TEXT + TEXT[:3])
        await peer.all()

    server = await relay.to(speaking(half), drain_seconds=5.0)
    wire = await opened(server)
    await wire.exactly(4)
    relay.ending.end(1008, "")
    await trio.testing.wait_all_tasks_blocked(0.05)
    go.set()
    assert await wire.all() == TEXT[4:] + TEXT + b"\x88\x02\x03\xf0"


async def test_a_frame_that_never_ends_is_cut(relay: Relay) -> None:
    async def half(peer: Peer) -> None:
        await peer.send(TEXT[:4])
        await peer.all()

    server = await relay.to(speaking(half), drain_seconds=0.2)
    wire = await opened(server)
    await wire.exactly(4)
    relay.ending.end(1008, "")
    with pytest.raises(trio.BrokenResourceError):
        await wire.stream.receive_some()


async def test_after_the_upstreams_own_close_nothing_is_added(relay: Relay) -> None:
    async def closes(peer: Peer) -> None:
        await peer.send(b"\x88\x02\x03\xe8")
        await peer.all()

    server = await relay.to(speaking(closes))
    wire = await opened(server)
    assert await wire.exactly(4) == b"\x88\x02\x03\xe8"
    relay.ending.end(1008, "")
    assert await wire.all() == b""


async def test_shutdown_says_1012(relay: Relay) -> None:
    server = await relay.to(speaking(echo))
    wire = await opened(server)
    server.shutdown.set()
    got = await wire.all()
    assert got[:1] == b"\x88" and got[2:4] == (1012).to_bytes(2, "big")
    await server.ended.wait()


async def test_the_log_has_101_and_the_bytes(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="hutch.access")
    server = await relay.to(speaking(echo))
    wire = await opened(server, "/a?token=secret")
    await wire.send(TEXT)
    await wire.exactly(len(TEXT))
    await wire.stream.send_eof()
    await wire.closed()
    await relay.done.wait()
    await trio.testing.wait_all_tasks_blocked(0.01)
    lines = [json.loads(one.getMessage()) for one in caplog.records if one.name == "hutch.access"]
    (line,) = [one for one in lines if one["path"] == "/a"]
    assert (line["status"], line["bytes"]) == (101, len(TEXT))


# --- boundaries --------------------------------------------------------------------------------


def frame(size: int, *, masked: bool, opcode: int = 1) -> bytes:
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x80 | opcode, mask | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, mask | 127)) + size.to_bytes(8, "big")
    return head + (b"abcd" if masked else b"") + bytes(size)


SIZES = st.sampled_from([0, 1, 5, 125, 126, 127, 300, 65535, 65536])
SHAPES = st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=6)


@settings(deadline=None, max_examples=200)
@given(SHAPES, st.lists(st.integers(1, 20), max_size=40), st.integers(1, 70_000))
def test_boundaries_are_found_however_the_bytes_are_cut(
    shapes: list[tuple[int, bool]], cuts: list[int], step: int
) -> None:
    """The oracle is the sum of the frames' own lengths."""
    frames = [frame(size, masked=masked) for size, masked in shapes]
    ends = [0]
    for one in frames:
        ends.append(ends[-1] + len(one))
    whole = b"".join(frames)
    tracker, at = Frames(), 0
    for size in itertools.chain(cuts, itertools.repeat(max(step, len(whole) // 100))):
        piece = whole[at : at + size]
        last = tracker.feed(piece)
        inside = [end - at for end in ends if at < end <= at + len(piece)]
        assert last == (inside[-1] if inside else 0)
        at += len(piece)
        assert tracker.is_between == (at in ends)
        if at == len(whole):
            break
    assert (tracker.count, tracker.has_closed) == (len(frames), False)


def test_a_close_frame_is_noticed_and_is_well_made() -> None:
    tracker = Frames()
    whole = frame(3, masked=False) + close_frame(1008, "é" * 100)
    for one in whole:
        tracker.feed(bytes((one,)))
    assert tracker.has_closed and tracker.is_between
    made = close_frame(1008, "é" * 100)
    assert made[1] <= 125 and len(made) == made[1] + 2
    made[4:].decode()

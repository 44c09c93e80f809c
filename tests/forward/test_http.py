"""What passes through, and how: heads, bodies, trailers, in both directions.

Source: wire contract, sections 8 and 10; RFC 9110, section 7.6.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio

from hutch.forward import Forwarder, Headers, Upstream
from hutch.server.streaming import Exchange
from hutch.wire.config import Limits
from hutch.wire.errors import Failure
from tests.forward.upstreams import OK, Peer, Relay, Same, says
from tests.server.site import begun, get, http_only, post


async def test_the_head_goes_up_as_it_came(relay: Relay) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.head())
        await peer.send(OK)

    server = await relay.to(script)
    answer = await server.ask(
        b"PROPFIND /a%2Fb/../c?x=%74&x=+&&y HTTP/1.1\r\nHost: me\r\nX-One: 1\r\nx-TWO: \xff;  a\r\n"
        b"X-One: 3\r\nCookie: a=b\r\nAccept-Encoding: gzip, br\r\n\r\n"
    )
    assert (answer.status, answer.body) == (200, b"ok")
    assert heads[0] == (
        b"PROPFIND /a%%2Fb/../c?x=%%74&x=+&&y HTTP/1.1\r\nHost: up:%d\r\nX-One: 1\r\n"
        b"x-TWO: \xff;  a\r\nX-One: 3\r\nCookie: a=b\r\nAccept-Encoding: gzip, br\r\n"
        b"Connection: close\r\n\r\n" % int(heads[0].partition(b"up:")[2].split(b"\r\n")[0])
    )


async def test_the_answers_head_comes_down_as_it_was(relay: Relay) -> None:
    raw = (
        b"HTTP/1.1 299 Odd But True\r\nX-One: 1\r\nset-COOKIE: a=b; Path=/\r\nSet-Cookie: c=d\r\n"
        b"X-Request-ID: theirs\r\nDate: yesterday\r\nContent-Length: 3\r\n\r\nabc"
    )
    server = await relay.to(says(raw))
    wire = await server.connect()
    await wire.send(get("/"))
    assert await wire.exactly(len(raw)) == raw


async def test_what_is_hop_by_hop_stays_here(relay: Relay) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.head())
        await peer.send(
            b"HTTP/1.1 200 OK\r\nConnection: x-mine, close\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Upgrade: h3\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"
        )

    server = await relay.to(script)
    named = ("Connection: keep-alive, X-Ours, Host, Content-Length", "X-Ours: 1", "X-Kept: 1")
    hop = (
        "Keep-Alive: 5",
        "Proxy-Connection: a",
        "Proxy-Authorization: b",
        "TE: gzip",
        "Upgrade: h2c",
    )
    answer = await server.ask(post("/", b"abc", *named, *hop))
    up = heads[0].lower()
    for name in (b"x-ours", b"keep-alive", b"proxy-", b"\r\nte:", b"upgrade"):
        assert name not in up
    assert b"x-kept: 1\r\n" in up and b"content-length: 3\r\n" in up and b"host: up" in up
    assert answer.headers.keys() == {b"x-kept", b"content-length", b"date", b"x-request-id"}


@pytest.mark.parametrize("size", [1, 100, 70_000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_both_ways(relay: Relay, size: int, *, chunked: bool) -> None:
    """Framed as they came; the upstream echoes while it still reads."""
    body = bytes(i % 251 for i in range(size))

    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert (b"Transfer-Encoding: chunked" in head) == chunked
        assert (b"Content-Length: %d" % size in head) != chunked
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        left = size
        while left:
            if chunked:
                piece = await peer.exactly(int(await peer.until(b"\r\n"), 16))
                await peer.until(b"\r\n")
            else:
                piece = await peer.some()
            left -= len(piece)
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        if chunked:
            assert await peer.until(b"\r\n\r\n") == b"0\r\n\r\n"
        await peer.send(b"0\r\n\r\n")

    server = await relay.to(script)
    wire = await server.connect()
    if chunked:
        half = size // 2
        raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for piece in (body[:half], body[half:]):
            raw += b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        raw += b"0\r\n\r\n"
    else:
        raw = post("/", body)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, raw)
        answer = await wire.answer()
    assert answer.body == body


async def test_trailers_pass_both_ways(relay: Relay) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        seen.append(await peer.until(b"\r\n\r\n"))
        await peer.send(
            b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n"
        )

    server = await relay.to(script)
    wire = await server.connect()
    await wire.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-In\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-In: 5\r\nAuthorization: no\r\n\r\n"
    )
    head = await wire.until(b"\r\n\r\n")
    assert b"Trailer: X-Sum\r\n" in head
    assert await wire.until(b"\r\n\r\n") == b"2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
    assert b"TE: trailers\r\n" in seen[0] and b"Connection: close, TE\r\n" in seen[0]
    assert seen[1] == b"2\r\nhi\r\n0\r\nX-In: 5\r\n\r\n"


async def test_a_piece_is_passed_on_when_it_comes(relay: Relay) -> None:
    """Server-Sent Events, and a head whose body is long in coming though its length is known."""
    go = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await go.wait()
        await peer.send(b"ab")
        await peer.all()

    server = await relay.to(script)
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.until(b"\r\n\r\n")
    go.set()
    assert await wire.exactly(2) == b"ab"


@pytest.mark.parametrize("end", ["close", "old close"])
async def test_an_answer_that_ends_with_its_connection(relay: Relay, end: str) -> None:
    version = b"1.0" if end == "old close" else b"1.1"
    server = await relay.to(says(b"HTTP/%b 200 OK\r\n\r\nabc" % version))
    answer = await server.ask(get("/"))
    assert (answer.body, answer.headers[b"transfer-encoding"]) == (b"abc", b"chunked")


async def test_an_old_client_gets_no_chunks_and_no_trailers(relay: Relay) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"
    server = await relay.to(says(b"HTTP/1.1 103 Early\r\n\r\n" + raw))
    wire = await server.connect()
    await wire.send(b"GET / HTTP/1.0\r\n\r\n")
    head, _, body = (await wire.all()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"chunked" not in head and body == b"abc"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
        b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 10\r\n\r\n',
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_answers_without_a_body(relay: Relay, answer: bytes) -> None:
    server = await relay.to(says(answer))
    wire = await server.connect()
    await wire.send(get("/"))
    head = await wire.until(b"\r\n\r\n")
    for line in answer.split(b"\r\n")[1:-2]:
        assert line + b"\r\n" in head
    # Nothing follows: the connection is good for the next request.
    await wire.send(get("/alive"))
    assert (await wire.answer()).body == b"hello"


async def test_head_has_the_length_and_no_body(relay: Relay) -> None:
    server = await relay.to(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nX-A: 1\r\n\r\n"))
    wire = await server.connect()
    await wire.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await wire.answer(bodiless=True)
    assert (answer.headers[b"content-length"], answer.headers[b"x-a"]) == (b"1000000", b"1")
    await wire.send(get("/alive"))
    assert (await wire.answer()).body == b"hello"


@pytest.mark.parametrize("status", [b"200 OK", b"304 Not Modified"])
async def test_an_answer_without_a_body_may_say_it_has_chunks(relay: Relay, status: bytes) -> None:
    head = b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n" % status
    server = await relay.to(says(head))
    wire = await server.connect()
    await wire.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await wire.answer(bodiless=True)).headers[b"trailer"] == b"X-A"
    await wire.send(get("/alive"))
    assert (await wire.answer()).body == b"hello"


class OddError(Exception):
    """What an edit of its own knows."""


class Refusing(Same):
    def answer(self, _status: int, _headers: Headers) -> Headers:
        raise OddError


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize("headers", [(), UPGRADE], ids=["HTTP", "WebSocket"])
async def test_what_the_edit_raises_passes_unwrapped(
    relay: Relay, headers: tuple[str, ...]
) -> None:
    closed = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.all()
        closed.set()

    upstream = Upstream(name="it", addresses=(("127.0.0.1", await relay.upstream(script)),))

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            await Forwarder(Limits()).carry(exchange, upstream, Refusing(b"up"))
        except OddError:
            raise Failure("conflict", "as the edit says") from None

    server = await relay.site.serve(app)
    assert (await server.ask(get("/", *headers))).failure["code"] == "conflict"
    with trio.fail_after(2):
        await closed.wait()


async def test_informational_answers_pass(relay: Relay) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    server = await relay.to(says(early + early + OK))
    wire = await server.connect()
    await wire.send(get("/"))
    assert await wire.exactly(2 * len(early)) == early + early
    assert (await wire.answer()).body == b"ok"


async def test_continue_is_the_upstreams_to_say(relay: Relay) -> None:
    go = trio.Event()

    async def script(peer: Peer) -> None:
        assert b"Expect: 100-continue" in await peer.head()
        await go.wait()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.exactly(3) == b"abc"
        await peer.send(OK)

    server = await relay.to(script)
    wire = await server.connect()
    await wire.send(post("/", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 3"))
    await trio.testing.wait_all_tasks_blocked(0.05)
    go.set()
    assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await wire.send(b"abc")
    assert (await wire.answer()).body == b"ok"


async def test_another_informational_answer_is_no_continue(relay: Relay) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.exactly(3) == b"abc"
        await peer.send(OK)

    server = await relay.to(script)
    wire = await server.connect()
    await wire.send(post("/", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 3"))
    for status in (b"102", b"100"):
        assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 %b " % status)
    await wire.send(b"abc")
    assert (await wire.answer()).body == b"ok"


async def test_a_refusal_instead_of_continue_spares_the_body(relay: Relay) -> None:
    server = await relay.to(says(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno"))
    wire = await server.connect()
    await wire.send(post("/", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 999999"))
    answer = await wire.answer()
    assert (answer.status, answer.body) == (417, b"no")


async def test_who_ignores_an_expectation_gets_the_body_all_the_same(relay: Relay) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        assert await peer.exactly(3) == b"abc"
        await peer.send(OK)

    server = await relay.to(script)
    wire = await server.connect()
    await wire.send(post("/", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 3"))
    assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await wire.send(b"abc")
    assert (await wire.answer()).body == b"ok"


async def test_an_answer_before_the_body_is_read(relay: Relay) -> None:
    """The upstream answers, closes, and never reads: what it said arrives."""
    server = await relay.to(says(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno"))
    wire = await server.connect()
    await wire.send(begun("/", 500_000_000, b"x" * 1000))
    answer = await wire.answer()
    assert (answer.status, answer.body) == (413, b"no")


@pytest.mark.parametrize("expects", [True, False], ids=["waits for 100", "speaks slowly"])
async def test_an_answer_under_way_is_not_cut_where_the_body_pauses(
    relay: Relay, *, expects: bool
) -> None:
    """No stream has a total time limit: not that of an answer whose request is not whole yet."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(8):
            await trio.sleep(0.05)
            await peer.send(b"1\r\nx\r\n")
        await peer.send(b"0\r\n\r\n")

    server = await relay.to(script, body_idle_seconds=0.1)
    wire = await server.connect()
    head = begun("/", 999_999, b"")
    await wire.send(
        head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") if expects else head
    )
    assert (await wire.answer()).body == b"x" * 8


async def test_the_slower_end_sets_the_pace_of_a_download(relay: Relay) -> None:
    """What a client does not take stays with the upstream."""
    sent = 0
    piece = bytes(1 << 20)

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(64):
            await peer.send(piece)
            sent += len(piece)

    server = await relay.to(script)
    wire = await server.connect(receive_buffer=4096)
    await wire.send(get("/"))
    await wire.until(b"\r\n\r\n")
    before = -1
    while before != sent:
        before = sent
        await trio.sleep(0.1)  # until nothing moves any more
    assert sent < 32 << 20
    total = 0
    while data := await wire.some():
        total += len(data)
        if total > 64 << 20:
            break
    assert total > 64 << 20


async def test_the_slower_end_sets_the_pace_of_an_upload(relay: Relay) -> None:
    go = trio.Event()
    taken = 0

    async def script(peer: Peer) -> None:
        nonlocal taken
        await peer.head()
        await go.wait()
        while taken < 64 << 20:
            taken += len(await peer.some())
        await peer.send(OK)

    server = await relay.to(script)
    wire = await server.connect()
    sent = 0

    async def upload() -> None:
        nonlocal sent
        await wire.send(begun("/", 64 << 20, b""))
        for _ in range(64):
            await wire.send(bytes(1 << 20))
            sent += 1 << 20

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload)
        before = -1
        while before != sent:
            before = sent
            await trio.sleep(0.1)  # until nothing moves any more
        assert sent < 32 << 20
        go.set()
        assert (await wire.answer()).body == b"ok"


async def test_a_client_that_leaves_closes_the_upstream(relay: Relay) -> None:
    closed = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        assert await peer.all() == b""
        closed.set()

    server = await relay.to(script)
    wire = await server.connect()
    await wire.send(get("/"))
    await wire.until(b"abc")
    await wire.stream.aclose()
    with trio.fail_after(2):
        await closed.wait()


async def test_a_client_that_leaves_while_nobody_reads_its_body(relay: Relay) -> None:
    server_side = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await server_side.wait()

    server = await relay.to(script)
    wire = await server.connect()
    await wire.send(begun("/", 100 << 20, b""))
    with trio.move_on_after(0.5):
        await wire.send(bytes(100 << 20))
    assert not relay.done.is_set()
    # A plain close would lie behind the bytes that nobody takes, in the client's own kernel.
    wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await wire.stream.aclose()
    with trio.fail_after(5):
        await relay.done.wait()
    server_side.set()


# --- connections that are kept -----------------------------------------------------------------


async def keeps(peer: Peer) -> None:
    """Answers as long as it is asked."""
    while peer.rest or (first := await peer.some()):
        peer.rest = peer.rest or first
        head = await peer.head()
        assert b"Connection: close" not in head
        if b"Content-Length: 3" in head:
            await peer.exactly(3)
        await peer.send(OK)


async def test_a_connection_is_used_again(relay: Relay) -> None:
    relay.keeps = True
    server = await relay.to(keeps)
    for _ in range(5):
        assert (await server.ask(get("/"))).body == b"ok"
        await relay.keeps_idle(1)
    assert relay.dialled == 1


async def test_what_may_change_something_has_a_connection_of_its_own(relay: Relay) -> None:
    relay.keeps = True
    server = await relay.to(keeps)
    for count, raw in enumerate((get("/"), post("/", b"abc"), post("/", b"")), start=1):
        assert (await server.ask(raw)).body == b"ok"
        await relay.keeps_idle(count)
    await server.ask(get("/"))
    assert relay.dialled == 3


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(relay: Relay) -> None:
    relay.keeps = True
    server = await relay.to(says(OK))
    for _ in range(3):
        assert (await server.ask(get("/"))).body == b"ok"
    assert relay.dialled == 3


async def test_a_kept_connection_that_dies_under_a_request_is_tried_once_more(relay: Relay) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.some()  # and closes: it had just decided to

    relay.keeps = True
    server = await relay.to(script)
    for _ in range(4):
        assert (await server.ask(get("/"))).body == b"ok"
        await relay.keeps_idle(1)
    assert relay.dialled == 4


async def test_dropping_a_key_closes_what_is_idle_and_keeps_nothing_under_way(relay: Relay) -> None:
    go, second = trio.Event(), trio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        if not await peer.some():
            return
        second.set()
        await go.wait()
        await peer.send(OK)
        assert await peer.all() == b""

    relay.keeps = True
    port = await relay.upstream(script)
    server = await relay.to(port)
    await server.ask(get("/"))
    await relay.keeps_idle(1)
    wire = await server.connect()
    await wire.send(get("/"))
    await second.wait()
    await server.ask(post("/", b""))
    await relay.keeps_idle(1)
    relay.pool.drop(port)
    assert len(relay.pool) == 0
    relay.done = trio.Event()
    go.set()
    assert (await wire.answer()).body == b"ok"
    await relay.done.wait()
    assert len(relay.pool) == 0

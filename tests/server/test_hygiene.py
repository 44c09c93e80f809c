"""Requests that two servers could read differently, or that speak another protocol."""

from __future__ import annotations

import logging

import pytest
import trio

from tests.server.site import Application, Site, echo, get, hello, post

SMUGGLING = {
    "length and encoding": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two lengths in one": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd",
    "a signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    "encoding twice": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another encoding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "an encoding that is nearly chunked": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "encoding in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n two\r\n\r\n",
    "a folded header with a tab": b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\ttwo\r\n\r\n",
    "a bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "a bare LF after a header": b"GET / HTTP/1.1\r\nHost: a\nX-One: 1\r\n\r\n",
    "bare LFs only": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare CR": b"GET / HTTP/1.1\r\nHost: a\rX-One: 1\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX-One: a\0b\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a host that is none": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a target of another host": b"GET http://other/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a relative target": b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a space": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is not ASCII": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n",
    "a star for GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0 by name": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a chunk size that is none": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk with a negative size": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk longer than it said": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING)
async def test_an_ambiguous_request_is_refused_and_the_connection_closed(
    site: Site, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = await site.serve(echo)
    wire = await server.connect()
    with caplog.at_level(logging.INFO):
        await wire.send(raw + get("/smuggled"))
        answer = await wire.answer()
        assert answer.status == 400
        assert answer.failure["code"] == "bad_request"
        assert answer.headers[b"connection"] == b"close"
        await wire.closed()
    assert "smuggled" not in caplog.text
    assert len([one for one in caplog.records if one.name.startswith("hutch")]) == 1
    assert "Traceback" not in caplog.text
    await server.lives()


# What is refused though h11 can read it: it then holds us to what HEAD means.
REFUSED_HEADS = ("a host that is none", "a target of another host", "a star for GET")


@pytest.mark.parametrize("name", REFUSED_HEADS)
async def test_a_refused_head_has_no_body(
    site: Site, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await site.serve(echo)
    wire = await server.connect()
    await wire.send(SMUGGLING[name].replace(b"GET", b"HEAD", 1))
    data = await wire.all()
    assert data.startswith(b"HTTP/1.1 400 ")
    assert data.endswith(b"\r\n\r\n")
    assert "Traceback" not in caplog.text


TOLERATED = {
    "an absolute target of this host": b"GET http://Hutch/a?b HTTP/1.1\r\nHost: hutch\r\n\r\n",
    "an absolute target without a path": b"GET http://hutch HTTP/1.1\r\nHost: hutch\r\n\r\n",
    "an empty line before": b"\r\n" + get("/"),
    "HTTP/1.0 without a host": b"GET / HTTP/1.0\r\n\r\n",
    "an empty host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "h2c is ignored": get(
        "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
    ),
    "an asterisk for OPTIONS": b"OPTIONS * HTTP/1.1\r\nHost: hutch\r\n\r\n",
    "an IPv6 host": b"GET / HTTP/1.1\r\nHost: [::1]:9990\r\n\r\n",
}


@pytest.mark.parametrize("raw", TOLERATED.values(), ids=TOLERATED)
async def test_an_unusual_request_is_answered(site: Site, raw: bytes) -> None:
    server = await site.serve(hello)
    answer = await server.ask(raw)
    assert (answer.status, answer.body) == (200, b"hello")
    assert b"upgrade" not in answer.headers


async def test_a_head_that_is_too_large_is_refused_and_names_the_limit(site: Site) -> None:
    server = await site.serve(hello, header_bytes=2000)
    answer = await server.ask(get("/", "X-Long: " + "a" * 3000))
    assert answer.status == 400
    assert "2000" in answer.failure["error"]
    fits = await server.ask(get("/", "X-Long: " + "a" * 1500))
    assert fits.status == 200


async def test_a_head_without_end_is_refused_at_the_limit(site: Site) -> None:
    server = await site.serve(hello, header_bytes=2000)
    wire = await server.connect()
    await wire.send(b"GET /" + b"a" * 3000)
    assert (await wire.answer()).status == 400
    await wire.closed()


async def test_a_head_of_200_kib_passes_by_default(site: Site) -> None:
    server = await site.serve(hello)
    assert (await server.ask(get("/", "X-Long: " + "a" * 200 * 1024))).status == 200


async def test_a_head_that_trickles_is_answered_408_in_time(site: Site) -> None:
    server = await site.serve(hello, header_seconds=0.1)
    wire = await server.connect()
    await wire.send(b"GET / HT")
    answer = await wire.answer()
    assert answer.status == 408
    assert answer.failure["code"] == "timeout"
    await wire.closed()


async def test_a_connection_on_which_nothing_comes_is_closed(site: Site) -> None:
    server = await site.serve(hello, header_seconds=0.1)
    await (await server.connect()).closed()


async def test_keep_alive_expires_after_the_first_request_too(site: Site) -> None:
    server = await site.serve(echo, keep_alive_seconds=0.1)
    wire = await server.connect()
    for body in (b"one", b"two"):
        await wire.send(post("/", body))
        assert (await wire.answer()).body == body
    await wire.closed()


async def test_trailers_are_read_and_dropped(site: Site) -> None:
    server = await site.serve(echo)
    wire = await server.connect()
    await wire.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;ext=1\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n" + post("/", b"next")
    )
    assert (await wire.answer()).body == b"abc"
    assert (await wire.answer()).body == b"next"


async def test_a_head_of_countless_lines_is_refused_before_it_is_parsed(site: Site) -> None:
    server = await site.serve(hello)
    answer = await server.ask(get("/", *["a: b"] * 30_000))
    assert answer.status == 400
    assert "1000 header lines" in answer.failure["error"]


@pytest.mark.parametrize("count", [900, 3_000, 40_000])
async def test_trailers_of_countless_lines_are_refused_before_they_are_parsed(
    site: Site, count: int
) -> None:
    """All of them at once kept everybody out for a third of a second, token or not."""
    server = await site.serve(echo)
    answer = await server.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        + b"a:b\r\n" * count
        + b"\r\n"
    )
    assert answer.status == (200 if count < 1000 else 400)
    if answer.status == 400:
        assert "1000 header lines" in answer.failure["error"]


async def test_a_chunked_body_may_have_any_number_of_lines(site: Site) -> None:
    server = await site.serve(echo)
    lines = b"a: b\r\n" * 30_000
    for chunk in (lines, lines[:-2] + b"x", b"0\r\n" + lines):
        answer = await server.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk)
        )
        assert answer.body == chunk


@pytest.mark.parametrize("app", [hello, echo], ids=["unread", "read"])
async def test_a_body_of_countless_chunks_does_not_keep_others_out(
    site: Site, app: Application
) -> None:
    """Others are served while it is parsed, though all of it has arrived."""
    server = await site.serve(app, drain_seconds=2.0)
    wire = await server.connect()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    done = trio.Event()
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await wire.send(head + b"1\r\na\r\n" * 30_000 + b"0\r\n\r\n" + get("/alive"))
        assert (await wire.answer()).status == 200
        assert (await wire.answer()).status == 200
        done.set()
    assert turns > 30_000 // 64

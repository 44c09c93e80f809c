"""Good requests made bad, by the thousand: no 5xx, no traceback, no end."""

from __future__ import annotations

import random

import pytest

from tests.server.site import Site, echo, eventually, get, post
from tests.server.test_websocket import Sockets, _echo, upgrade

SEEDS = (
    get("/a/b?c=d", "Accept: */*", "Connection: keep-alive"),
    post("/", b"hello", "Content-Type: text/plain"),
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET http://hutch/x HTTP/1.1\r\nHost: hutch\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\xff", b"%", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"HTTP/1.1", b"HTTP/2.0", b"-1", b"/",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n",
)  # fmt: skip


def mutate(raw: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.randint(1, 4)):
        at, to = sorted(dice.randrange(len(raw) + 1) for _ in range(2))
        match dice.randrange(4):
            case 0:
                raw = raw[:at] + dice.choice(TOKENS) + raw[at:]
            case 1:
                raw = raw[:at] + raw[min(to, at + 3) :]
            case 2:
                raw = raw[:at] + dice.randbytes(dice.randint(1, 4)) + raw[at + 1 :]
            case _:
                raw = raw[:to] + raw[at:]
    return raw


@pytest.mark.parametrize("seed", range(4))
async def test_a_mutated_request_is_answered_or_the_connection_closed(
    site: Site, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(seed)
    server = await site.serve(echo, header_seconds=0.2, body_idle_seconds=0.2)
    for _ in range(150):
        raw = mutate(dice.choice(SEEDS), dice)
        wire = await server.connect()
        await wire.send(raw)
        await wire.stream.send_eof()
        data = await wire.all()
        assert not data or data.startswith(b"HTTP/1.1 "), raw
        assert b"HTTP/1.1 5" not in data, raw
        await wire.stream.aclose()
    await server.lives()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("seed", range(2))
async def test_mutated_frames_close_that_socket_alone(
    site: Site, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(seed)
    sockets = Sockets(_echo)
    server = await site.serve(sockets.app, message_bytes=1000)
    frames = b"\x81\x83\0\0\0\0abc" + b"\x89\x80\0\0\0\0" + b"\x82\xfe\0\x80\0\0\0\0" + b"x" * 128
    for _ in range(100):
        wire = await server.connect()
        await wire.send(upgrade())
        assert (await wire.answer()).status == 101
        await wire.send(mutate(frames, dice))
        await wire.stream.send_eof()
        await wire.all()
        await wire.stream.aclose()
    await server.lives()
    await eventually(lambda: len(sockets.endings) == 100, "a handler is left")
    assert set(sockets.endings) <= {"returned", "cancelled"}
    assert "Traceback" not in caplog.text

"""Applications reached through `/proxy`, beside the same applications asked directly.

Belongs here: what the proxy adds to a small request, to a large body, to many WebSockets. Banned
here: applications that cost something themselves. On a machine of two cores client, runtime and
application share what a direct exchange has for two.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import trio

from benches.bench import Bench
from benches.ours import Server
from benches.programs import HERE
from benches.table import Outcome, Promise, figure
from benches.timing import DEADLINE_SECONDS, Side, interleave, ratios

REQUESTS = 300
ADDED_MS = 1.5
BODY_BYTES = 1 << 30
# No promise of the design's, but bounds that show a change for the worse. Each byte is copied twice
# more, by a third process on two cores.
BODY_RATIO = 6.0
SOCKETS = 100
TRIPS = 20
MESSAGE_BYTES = 1024
SOCKETS_RATIO = 5.0
OK = 200


@contextmanager
def application() -> Iterator[int]:
    """The application in its own process; gives its port."""
    command = [sys.executable, str(HERE / "application.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def proxied(bench: Bench) -> Iterator[Outcome]:
    """A small request, a gigabyte down and up, a hundred WebSockets."""
    with application() as port:
        yield _small(bench, port)
        yield _body(bench, port, "down", _flood)
        yield _body(bench, port, "up", _sink)
        yield _sockets(bench, port)


def _small(bench: Bench, port: int) -> Outcome:
    target = bench.shared.target
    calls = {
        "proxied": _asking(target.port, f"/proxy/{port}/", target.token),
        "direct": _asking(port, "/", ""),
    }
    sides = [Side(name, _p50(call)) for name, call in calls.items()]
    samples = interleave(sides, bench.times(7))
    added = [a - b for a, b in zip(samples["proxied"], samples["direct"], strict=True)]
    return Outcome(
        "proxy",
        "a small request through /proxy: what it adds, p50",
        Promise(ADDED_MS, "ms"),
        measured=median(added),
        spread=(min(added), max(added)),
        ours=f"{median(samples['proxied']):.2f} ms",
        beside={"direct": f"{median(samples['direct']):.2f} ms"},
        notes=["a new connection to the application each time"],
        samples=samples,
    )


def _asking(port: int, path: str, token: str) -> Callable[[], None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask() -> None:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != OK:
            raise RuntimeError(f"{path} answers {answer.status}")

    return ask


def _p50(call: Callable[[], None]) -> Callable[[], float]:
    def sample() -> float:
        taken = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            call()
            taken.append((time.perf_counter() - began) * 1000)
        return median(taken)

    return sample


Carry = Callable[[int, str, str], None]


def _body(bench: Bench, port: int, way: str, carry: Carry) -> Outcome:
    target = bench.shared.target
    sides = [
        Side("proxied", _timed(lambda: carry(target.port, f"/proxy/{port}", target.token))),
        Side("direct", _timed(lambda: carry(port, "", ""))),
    ]
    samples = interleave(sides, bench.times(3))
    found = ratios(samples, "proxied", "direct")
    rates = {name: BODY_BYTES / 1e6 / median(taken) for name, taken in samples.items()}
    return Outcome(
        "proxy-body",
        f"1 GiB {way} through /proxy",
        Promise(BODY_RATIO, "x", "the application asked directly"),
        measured=median(found),
        spread=(min(found), max(found)),
        ours=f"{rates['proxied']:.2f} GB/s",
        beside={"direct": f"{rates['direct']:.2f} GB/s"},
        samples=samples,
    )


def _timed(work: Callable[[], None]) -> Callable[[], float]:
    def sample() -> float:
        began = time.perf_counter()
        work()
        return (time.perf_counter() - began) * 1000

    return sample


def _head(method: str, path: str, token: str, length: int) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"Content-Length: {length}"] if length else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _flood(port: int, prefix: str, token: str) -> None:
    space, got = bytearray(1 << 20), 0
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as one:
        one.sendall(_head("GET", f"{prefix}/flood/{BODY_BYTES}", token, 0))
        while got < BODY_BYTES:
            taken = one.recv_into(space)
            if not taken:
                raise RuntimeError(f"the answer was cut after {got} bytes")
            got += taken


def _sink(port: int, prefix: str, token: str) -> None:
    piece = bytes(1 << 20)
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as one:
        one.sendall(_head("POST", f"{prefix}/sink", token, BODY_BYTES))
        for _ in range(BODY_BYTES // len(piece)):
            one.sendall(piece)
        if not one.recv(65536).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError("the upload was refused")


def _sockets(bench: Bench, port: int) -> Outcome:
    with bench.fresh() as server:
        target = server.target
        held: list[float] = []
        passed = f"/proxy/{port}/socket"
        sides = [
            Side(
                "proxied", lambda: trio.run(_talk, target.port, passed, target.token, server, held)
            ),
            Side("direct", lambda: trio.run(_talk, port, "/socket", "", None, held)),
        ]
        samples = interleave(sides, bench.times(5))
    found = ratios(samples, "proxied", "direct")
    return Outcome(
        "proxy-sockets",
        f"{SOCKETS} WebSockets through /proxy, {TRIPS} round trips of {MESSAGE_BYTES} bytes each",
        Promise(SOCKETS_RATIO, "x", "the application asked directly"),
        measured=median(found),
        spread=(min(found), max(found)),
        ours=f"{median(samples['proxied']):.0f} ms",
        beside={"direct": f"{median(samples['direct']):.0f} ms"},
        notes=[f"{figure(max(held) * 1024 / SOCKETS, 'ms').split()[0]} KiB a socket"],
        samples=samples,
    )


async def _talk(
    port: int, path: str, token: str, server: Server | None, held: list[float]
) -> float:
    """Milliseconds of all round trips of all sockets, once they stand."""
    before = server.memory_mib("VmRSS") if server else 0.0
    streams = [await _opened(port, path, token) for _ in range(SOCKETS)]
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for one in streams:
            nursery.start_soon(_trips, one)
    took = (time.perf_counter() - began) * 1000
    if server:
        held.append(server.memory_mib("VmRSS") - before)
    for one in streams:
        await one.aclose()
    return took


async def _opened(port: int, path: str, token: str) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: a",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {token}",
    ]
    await stream.send_all(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive_some()
    if b" 101 " not in head:
        raise RuntimeError(f"{path}: {head[:100]!r}")
    return stream


async def _trips(stream: trio.SocketStream) -> None:
    # A frame as a server sends it: the application gives it back as it is.
    frame = b"\x82\x7e" + MESSAGE_BYTES.to_bytes(2, "big") + bytes(MESSAGE_BYTES)
    for _ in range(TRIPS):
        await stream.send_all(frame)
        left = len(frame)
        while left:
            left -= len(await stream.receive_some(left))

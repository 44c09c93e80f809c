"""Small requests: their rate, their latency beside heavy work, and the memory of a server at rest.

Belongs here: single requests on one keep-alive connection. Banned here: streams as the thing
measured.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benches.bench import Bench
from benches.ours import Server, UnansweredError, request
from benches.programs import HERE
from benches.table import Outcome, Promise, figure
from benches.timing import DEADLINE_SECONDS, Side, interleave, ratios

# Hypercorn closes a connection after 1,000 requests: fewer, so that one connection is one.
REQUESTS = 900
P99_MS = 25.0
IDLE_MIB = 80.0


@dataclass(frozen=True)
class Pressed:
    """What one connection saw."""

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    most_ms: float


def pressed(told: bytes) -> Pressed:
    """Reads what `press` prints: count, rate, and microseconds at 50 %, 99 % and the end."""
    count, rate, p50, p99, most = (float(one) for one in told.split())
    return Pressed(int(count), rate, p50 / 1000, p99 / 1000, most / 1000)


def small(bench: Bench) -> Iterator[Outcome]:
    """The rate of `/files/stat` beside that of a hello on unmodified Hypercorn."""
    asked = request("/files/stat", path=bench.trees.node_modules() / "src/part0/module1.ts")
    with hello() as port:
        sides = [
            _pressing(bench.shared, "ours", bench.programs.press, asked),
            _pressing(bench.shared, "our /health", bench.programs.press, "/health"),
            Side("hello", lambda: press(bench.programs.press, port, "/hello", "-").rate),
        ]
        samples = interleave(sides, bench.times(7))
    found = ratios(samples, "ours", "hello")
    yield Outcome(
        "small",
        "/files/stat, one connection, requests a second",
        Promise(0.7, "x", "a Quart-Trio hello on Hypercorn 0.18", at_least=True),
        measured=median(found),
        spread=(min(found), max(found)),
        ours=f"{median(samples['ours']):.0f}/s",
        beside={name: f"{median(samples[name]):.0f}/s" for name in ("hello", "our /health")},
        samples=samples,
    )


def _pressing(server: Server, name: str, program: Path, asked: str) -> Side:
    target = server.target
    return Side(name, lambda: press(program, target.port, asked, target.token).rate)


def press(program: Path, port: int, asked: str, token: str) -> Pressed:
    """900 requests, one after the other. Raises `UnansweredError` at the first not 200."""
    done = subprocess.run(
        [program, str(port), asked, token, str(REQUESTS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise UnansweredError(f"{asked.partition('?')[0]} does not answer with 200")
    return pressed(done.stdout)


@contextmanager
def hello() -> Iterator[int]:
    """The yardstick in its own process; gives its port."""
    command = [sys.executable, str(HERE / "hello.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def beside(bench: Bench) -> Iterator[Outcome]:
    """The latency of `/files/stat` while the kernel tree is hashed, from a fresh server."""
    root = bench.trees.kernel()
    hashing = request("/files/stream", path=root, include_hash="true")
    asked = request("/files/stat", path=root / "Makefile")
    found = []
    for _ in range(bench.times(5)):
        with bench.fresh() as server:
            press(bench.programs.press, server.target.port, asked, server.target.token)
            found.append(_while_hashing(bench.programs.press, server, asked, hashing))
    yield Outcome(
        "beside",
        "/files/stat while the kernel tree is hashed, p99",
        Promise(P99_MS, "ms"),
        measured=median(one.p99_ms for one in found),
        spread=(min(one.p99_ms for one in found), max(one.p99_ms for one in found)),
        ours=f"p50 {figure(median(one.p50_ms for one in found), 'ms')}, "
        f"most {figure(max(one.most_ms for one in found), 'ms')}",
        notes=[f"{sum(one.requests for one in found)} requests"],
        samples={"p99": [one.p99_ms for one in found], "p50": [one.p50_ms for one in found]},
    )


def _while_hashing(program: Path, server: Server, asked: str, hashing: str) -> Pressed:
    target = server.target
    with subprocess.Popen(
        [program, str(target.port), asked, target.token, "0"], stdout=subprocess.PIPE
    ) as pressing:
        try:
            server.fetch(hashing)
        finally:
            pressing.terminate()
        told, _ = pressing.communicate(timeout=DEADLINE_SECONDS)
    return pressed(told)


def idle(bench: Bench) -> Iterator[Outcome]:
    """What a server holds that has answered one `/health`."""
    found = []
    for _ in range(bench.times(3)):
        with bench.fresh() as server:
            found.append(server.memory_mib("VmRSS"))
    yield Outcome(
        "idle",
        "memory of a server at rest",
        Promise(IDLE_MIB, "MiB"),
        measured=median(found),
        spread=(min(found), max(found)),
        ours=figure(median(found), "MiB"),
        notes=["VmRSS after one /health"],
        samples={"VmRSS": found},
    )

"""From a keystroke to its echo: through `/ws` and a terminal, beside a bare pseudo-terminal.

Belongs here: the latency of single keys, with a pause between them, so that each is the first
after silence. Banned here: throughput. Our client is the tests' own, in Python: what it costs is
in the figures.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import median

from tests.serving import Target
from tests.terminals import RAW, Ws, connected, opened

from benches.bench import Bench
from benches.ours import Server, request
from benches.table import Outcome, Promise, figure
from benches.timing import DEADLINE_SECONDS

KEYS = 200
# Longer than output is gathered for.
PAUSE_SECONDS = 0.006
P50_MS = 1.5
P99_MS = 20.0

Key = Callable[[], None]


def keystroke(bench: Bench) -> Iterator[Outcome]:
    """One key and its echo on an idle server; then while the kernel tree is hashed."""
    with typing(bench.shared.target) as key, bare() as floor:
        turns = [(_each(key, KEYS), _each(floor, KEYS)) for _ in range(bench.times(5))]
    ours, floors = ([median(one) for one in side] for side in zip(*turns, strict=True))
    whole = sorted(one for turn, _ in turns for one in turn)
    yield Outcome(
        "keystroke",
        "keystroke to echo, p50",
        Promise(P50_MS, "ms"),
        measured=median(ours),
        spread=(min(ours), max(ours)),
        ours=f"p99 {figure(whole[-len(whole) // 100], 'ms')}, most {figure(whole[-1], 'ms')}",
        beside={"a bare pty": figure(median(floors), "ms")},
        notes=[f"{len(whole)} keys, {PAUSE_SECONDS * 1000:g} ms apart"],
        samples={"p50": ours, "a bare pty": floors},
    )
    yield from _beside_hashing(bench)


def _beside_hashing(bench: Bench) -> Iterator[Outcome]:
    hashing = request("/files/stream", path=bench.trees.kernel(), include_hash="true")
    found: list[list[float]] = []
    floors: list[list[float]] = []
    for _ in range(bench.times(5)):
        with bench.fresh() as server:
            found.append(_while_hashing(server, hashing, typing(server.target)))
        with bench.fresh() as server:
            floors.append(_while_hashing(server, hashing, bare()))
    p99s = [sorted(one)[-max(len(one) // 100, 1)] for one in found]
    theirs = [sorted(one)[-max(len(one) // 100, 1)] for one in floors]
    yield Outcome(
        "keystroke",
        "keystroke to echo while the kernel tree is hashed, p99",
        Promise(P99_MS, "ms"),
        measured=median(p99s),
        spread=(min(p99s), max(p99s)),
        ours=f"p50 {figure(median(map(median, found)), 'ms')}, "
        f"most {figure(max(map(max, found)), 'ms')}",
        beside={"a bare pty": f"p99 {figure(median(theirs), 'ms')}"},
        notes=[f"{sum(map(len, found))} keys"],
        samples={"p99": p99s, "a bare pty, p99": theirs},
    )


def _while_hashing(
    server: Server, hashing: str, keyboard: AbstractContextManager[Key]
) -> list[float]:
    target = server.target
    with keyboard as key:
        command = [str(server.hsink), str(target.port), hashing, target.token]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as stream:
            taken = []
            while stream.poll() is None:
                taken += _each(key, 1)
            stream.wait(DEADLINE_SECONDS)
    return taken


def _each(key: Key, count: int) -> list[float]:
    """Milliseconds of each key."""
    taken = []
    for _ in range(count):
        time.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        key()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


@contextmanager
def typing(target: Target) -> Iterator[Key]:
    """A terminal of the server that echoes, and what types into it and waits for the echo."""
    with target.client() as client, connected(target) as ws:
        identifier = str(opened(client, ["sh", "-c", f"{RAW} exec cat"])["id"])
        ws.until_seen(identifier, b"ready\n")
        try:
            yield lambda: _typed(ws, identifier)
        finally:
            client.request("DELETE", f"/terminals/{identifier}")


def _typed(ws: Ws, identifier: str) -> None:
    size = len(ws.of(identifier))
    ws.type(identifier, b"x")
    ws.until_size(identifier, size + 1)


@contextmanager
def bare() -> Iterator[Key]:
    """The same on a pseudo-terminal of our own: what the kernel and `cat` take."""
    master, theirs = os.openpty()
    tty.setraw(theirs)
    with subprocess.Popen(["cat"], stdin=theirs, stdout=theirs) as process:
        os.close(theirs)

        def key() -> None:
            os.write(master, b"x")
            if not select.select([master], [], [], DEADLINE_SECONDS)[0]:
                raise RuntimeError("a bare pty gives no echo")
            os.read(master, 1)

        try:
            yield key
        finally:
            process.terminate()
    os.close(master)

"""What stalled readers cost others: the rate of small requests beside five hundred of them.

Belongs here: clients that take nothing. Banned here: how long they stay (`tests/server` has that).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benches.bench import Bench
from benches.ours import Server, request
from benches.rows.small import press
from benches.table import Outcome, Promise

READERS = 500
LEAST_SPEED = 0.9
_RECEIVE_BUFFER = 4096
_QUIET_SECONDS = 0.2


def stalled(bench: Bench) -> Iterator[Outcome]:
    """The rate of `/files/stat` beside 500 stalled readers of a stream, and what each costs."""
    root = bench.trees.node_modules()
    listing = request("/files/stream", path=root, use_gitignore="false")
    asked = request("/files/stat", path=root / "src/part0/module1.ts")
    found, alone, beside, grown = [], [], [], []
    for _ in range(bench.times(5)):
        with bench.fresh() as server, ExitStack() as readers:
            server.fetch(listing)  # threads and buffers that stay are there from now on
            _rate(bench, server, asked)
            alone.append(_rate(bench, server, asked))
            before = server.memory_mib("VmRSS")
            for _ in range(READERS):
                readers.enter_context(_stall(server, listing))
            _wait_quiet(server)
            beside.append(_rate(bench, server, asked))
            grown.append((server.memory_mib("VmRSS") - before) / READERS * 1024)
            found.append(beside[-1] / alone[-1])
    yield Outcome(
        "stalled",
        f"/files/stat beside {READERS} stalled readers, requests a second",
        Promise(LEAST_SPEED, "x", "the same without them", at_least=True),
        measured=median(found),
        spread=(min(found), max(found)),
        ours=f"{median(beside):.0f}/s",
        beside={"without": f"{median(alone):.0f}/s"},
        notes=[f"{median(grown):.0f} KiB a reader"],
        samples={"alone": alone, "beside": beside, "KiB a reader": grown},
    )


def _rate(bench: Bench, server: Server, asked: str) -> float:
    return press(bench.programs.press, server.target.port, asked, server.target.token).rate


def _stall(server: Server, listing: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    client.connect(("127.0.0.1", server.target.port))
    client.sendall(
        f"GET {listing} HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {server.target.token}\r\n\r\n".encode()
    )
    return client


def _wait_quiet(server: Server) -> None:
    """Until the server has done what it can for readers who take nothing."""
    before = -1
    while (now := _ticks(server)) != before:
        before = now
        time.sleep(_QUIET_SECONDS)


def _ticks(server: Server) -> int:
    """The processor's time that the server has used."""
    fields = Path(f"/proc/{server.target.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])

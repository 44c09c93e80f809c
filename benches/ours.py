"""Our side: `hutch serve` on a free port, asked by the counting client; and what it answered.

Belongs here: starting servers, requests as sides, reading an answer once to see what is in it.
Banned here: parsing anything while it is timed.
"""

from __future__ import annotations

import http.client
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from tests.serving import Target, serving

from benches.timing import DEADLINE_SECONDS, Side

OK = 200


class UnansweredError(Exception):
    """The server does not answer this request with 200; its rows are not measured."""


@dataclass(frozen=True)
class Fetch:
    """One answer, counted: bytes, and milliseconds to the first entry and to the last byte."""

    size: int
    first_ms: float
    total_ms: float


@dataclass(frozen=True)
class Server:
    """A running server and the client that asks it."""

    target: Target
    hsink: Path

    def fetch(self, request: str) -> Fetch:
        """Reads one answer to its last byte. Raises `UnansweredError` unless it is a whole 200."""
        done = subprocess.run(
            [self.hsink, str(self.target.port), request, self.target.token],
            stdout=subprocess.PIPE,
            close_fds=False,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        status, size, first, total = done.stdout.split() or (b"0",) * 4
        if done.returncode != 0 or int(status) != OK:
            raise UnansweredError(f"{request.partition('?')[0]} answers {status.decode()}")
        return Fetch(int(size), float(first) / 1000, float(total) / 1000)

    def side(self, name: str, request: str) -> Side:
        """Milliseconds from the start of the client's process to its end, as rivals are timed."""

        def run() -> float:
            began = time.perf_counter()
            self.fetch(request)
            return (time.perf_counter() - began) * 1000

        return Side(name, run)

    def in_client(self, name: str, request: str) -> Side:
        """Milliseconds from the request to the last byte, as the client itself saw it."""
        return Side(name, lambda: self.fetch(request).total_ms)

    def memory_mib(self, field_: str) -> float:
        """`VmRSS` (resident now) or `VmHWM` (the most so far) of the server's process."""
        lines = Path(f"/proc/{self.target.pid}/status").read_text().splitlines()
        found = next(line for line in lines if line.startswith(f"{field_}:"))
        return int(found.split()[1]) / 1024

    def forget_peak(self) -> None:
        """Sets `VmHWM` back to what is resident now."""
        Path(f"/proc/{self.target.pid}/clear_refs").write_text("5")


@contextmanager
def server(scratch: Path, hsink: Path) -> Iterator[Server]:
    """A fresh server with its own state directory, ended by its pid."""
    with serving(scratch) as target:
        one = Server(target, hsink)
        read(target, "/health")
        yield one


def request(path: str, /, **parameters: object) -> str:
    """A path with a query: `request("/files/stream", path=root, light="true")`."""
    return f"{path}?{urlencode({name: str(value) for name, value in parameters.items()})}"


@dataclass
class Seen:
    """What one stream held, read line by line."""

    paths: set[str] = field(default_factory=set)
    done: int | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    with_content: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    def complaint(self) -> str:
        """Why the stream cannot be believed, or nothing."""
        if self.done is None:
            return "the stream has no done event"
        if self.done != len(self.paths):
            return f"done says {self.done}, {len(self.paths)} entries came"
        return f"{self.events['error']} errors in the stream" if self.events["error"] else ""


def seen(target: Target, root: Path, asked: str) -> Seen:
    """Reads one stream, paths relative to the root. Raises `UnansweredError` unless it is a 200."""
    found, prefix = Seen(), len(str(root)) + 1
    for line in read(target, asked).split(b"\n"):
        if line:
            _note(found, orjson.loads(line), prefix)
    return found


def _note(found: Seen, entry: dict[str, Any], prefix: int) -> None:
    if "event" in entry:
        found.events[entry["event"]] += 1
        if entry["event"] == "done":
            found.done = entry["count"]
        return
    path = entry["path"][prefix:]
    found.paths.add(path)
    if "hash" in entry:
        found.hashes[path] = entry["hash"]
    if "content" in entry:
        found.with_content.append(path)
    if "content_skipped" in entry:
        found.skipped[entry["content_skipped"]] += 1


def read(target: Target, asked: str) -> bytes:
    """One answer, whole. Raises `UnansweredError` unless it is a 200."""
    line = http.client.HTTPConnection("127.0.0.1", target.port, timeout=DEADLINE_SECONDS)
    try:
        line.request("GET", asked, headers={"Authorization": f"Bearer {target.token}"})
        answer = line.getresponse()
        if answer.status != OK:
            raise UnansweredError(f"{asked.partition('?')[0]} answers {answer.status}")
        return answer.read()
    finally:
        line.close()

"""A server on a port, as tests see it.

Belongs here: starting `hutch serve` as its own process, and `Target`. Banned here: anything a
test asks of it.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.client import Client

START_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Target:
    """What a test needs to know of a server: those marked `wire` use url and token alone.

    `own_port` is where the server itself listens, whatever stands in front of it.
    """

    url: str
    token: str
    pid: int
    state_dir: Path
    log: Path
    own_port: int

    @property
    def port(self) -> int:
        return httpx2.URL(self.url).port or 80

    def client(self, *, token: str | None = None) -> Client:
        return Client(self.url, self.token if token is None else token)


@contextmanager
def serving(
    directory: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    preexec: list[str] | None = None,
) -> Iterator[Target]:
    """`hutch serve` on a free port of 127.0.0.1, stopped by its own pid."""
    directory.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(16)
    ready, log = directory / "ready.json", directory / "log"
    ready.unlink(missing_ok=True)
    command = [
        *(preexec or []),
        sys.executable,
        "-m",
        "hutch.cli",
        "serve",
        "--port=0",
        f"--state-dir={directory / 'state'}",
        f"--ready-file={ready}",
        *options,
    ]
    env = {**os.environ, **_nowhere(directory), "HUTCH_TOKEN": token, **(environment or {})}
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=env, cwd="/")
    try:
        told = wait_ready(process, ready, log)
        own_port = httpx2.URL(told["url"]).port or 80
        yield Target(told["url"], token, told["pid"], directory / "state", log, own_port)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _nowhere(directory: Path) -> dict[str, str]:
    """No test downloads from the Internet, or puts a program where others find it."""
    place = directory / "bin"
    place.mkdir(exist_ok=True)
    return {"HUTCH_RIPGREP_URL": "http://127.0.0.1:9", "HUTCH_RIPGREP_DIR": str(place)}


def wait_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> dict[str, Any]:
    """What the ready file says, once it is there; fails where the process ends before."""
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the server did not start:\n{log.read_text()}")
        time.sleep(0.01)  # a file appears without telling anybody
    return dict(json.loads(ready.read_text()))

"""A whole platform in one process, as tests see it.

Belongs here: starting `hutch up`, its client. Banned here: anything a test asks of it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.controlling import Account
from tests.serving import STOP_SECONDS, wait_ready


@dataclass(frozen=True)
class Platform:
    """Control plane and gateway, and where they keep things."""

    url: str
    gateway_url: str
    admin_url: str
    process: subprocess.Popen[bytes]
    state_dir: Path
    log: Path

    @property
    def credentials(self) -> dict[str, str]:
        """The client's id and secret, as a shell reads them."""
        lines = (self.state_dir / "client.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def account(self) -> Account:
        found = self.credentials
        return Account(self.url, found["OBLIEN_CLIENT_ID"], found["OBLIEN_CLIENT_SECRET"])

    @property
    def script(self) -> list[str]:
        """The lines that it printed for a shell."""
        lines = self.log.read_text().splitlines()
        return [one for one in lines if one.startswith(("set ", "curl ", "TOKEN="))]


def some_network() -> str:
    """A network of one test's own: files run beside each other."""
    return f"127.{random.randrange(10, 250)}.{random.randrange(256)}.0/24"


@contextmanager
def upping(directory: Path, *options: str, network: str | None = None) -> Iterator[Platform]:
    """`hutch up` on free ports, ended by its own pid."""
    directory.mkdir(parents=True, exist_ok=True)
    ready, log = directory / "ready.json", directory / "log"
    ready.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "hutch.cli", "up", "--control-port=0", "--gateway-port=0"),
        *(f"--state-dir={directory / 'state'}", f"--ready-file={ready}"),
        *(f"--network={network or some_network()}", *options),
    ]
    environment = {**os.environ, "HUTCH_RIPGREP_URL": "http://127.0.0.1:9"}
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd="/", env=environment)
    try:
        told = wait_ready(process, ready, log)
        urls = (told["url"], told["gateway_url"], told["admin_url"])
        yield Platform(*urls, process, directory / "state", log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

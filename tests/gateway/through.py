"""A gateway's own process in front of a server, so that tests of that server run through it.

Belongs here: starting `hutch gateway`, and `through_gateway`. Banned here: anything a test asks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.gateway.plane import CREDENTIAL, Workspace, planning
from tests.serving import STOP_SECONDS, Target, wait_ready


@dataclass(frozen=True)
class Gateway:
    """A gateway's process."""

    url: str
    admin_url: str
    pid: int
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def gatewaying(
    directory: Path,
    control_url: str,
    *options: str,
    credential: str = CREDENTIAL,
    network: str | None = "127.0.0.0/8",
) -> Iterator[Gateway]:
    """`hutch gateway` on a free port of 127.0.0.1, stopped by its own pid."""
    directory.mkdir(parents=True, exist_ok=True)
    file, ready, log = (directory / name for name in ("credential", "ready.json", "log"))
    file.write_text(credential)
    ready.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "hutch.cli", "gateway", "--port=0", "--admin-port=0"),
        *(f"--control-url={control_url}", f"--control-token-file={file}"),
        *(f"--ready-file={ready}", *([f"--network={network}"] if network else ()), *options),
    ]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd="/", env={**os.environ})
    try:
        told: dict[str, Any] = wait_ready(process, ready, log)
        yield Gateway(told["url"], told["admin_url"], told["pid"], log, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextmanager
def fronting(target: Target, directory: Path) -> Iterator[tuple[Gateway, str]]:
    """A gateway in front of a server, and a token for it."""
    port = urlsplit(target.url).port
    assert port is not None
    # The server's own default is no origin at all, and its tests hold it to that.
    option = "--allow-origin=https://nobody.example"
    with planning() as plane, gatewaying(directory, plane.url, option) as gateway:
        workspace = plane.add(Workspace("ws_target", "127.0.0.1", port, target.token))
        yield gateway, plane.token(workspace)


@contextmanager
def through_gateway(target: Target, directory: Path) -> Iterator[Target]:
    """The same server as a gateway shows it: its URL, and a gateway's token."""
    with fronting(target, directory) as (gateway, token):
        yield replace(target, url=gateway.url, token=token)

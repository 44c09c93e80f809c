"""A control plane on a port, as tests see it.

Belongs here: starting `hutch control` as its own process, its clients, and ending what it leaves.
Banned here: anything a test asks of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from click.testing import CliRunner

from hutch.cli import main
from hutch.control.clients import creating
from hutch.control.composition import open_records
from hutch.wire.control.config import control_config
from tests.client import Client, Json
from tests.serving import START_SECONDS, STOP_SECONDS

SECONDS = 20.0


class Account(Client):
    """A client of a control plane: the shared test client with an id and a secret."""

    def __init__(self, url: str, identifier: str, secret: str) -> None:
        super().__init__(
            url, "", credentials={"X-Client-ID": identifier, "X-Client-Secret": secret}
        )
        self.id = identifier
        self.secret = secret

    def ok(self, method: str, path: str, body: object = None, status: int = 200) -> Json:
        """A request that must succeed."""
        answer = self.request(method, path, body=body)
        assert answer.status_code == status, (answer.status_code, answer.text)
        told = dict(answer.json())
        assert told["success"] is True
        return told

    def create(self, **body: object) -> Json:
        """A new workspace."""
        return dict(self.ok("POST", "/workspace", body, status=201)["workspace"])

    def enabled(self, **body: object) -> tuple[str, Json]:
        """A new workspace whose server runs: its id, and how to reach it."""
        identifier = self.create(**body)["id"]
        self.ok("POST", f"/workspace/{identifier}/runtime-api-access/enable")
        return identifier, self.raw(identifier)

    def raw(self, identifier: str) -> Json:
        """How to reach a workspace's server."""
        return self.ok("GET", f"/workspace/{identifier}/runtime-api-access/token/raw")


def runtime(raw: Json, token: str | None = None) -> Client:
    """A client of a workspace's server."""
    return Client(f"http://{raw['ip']}:{raw['port']}", raw["token"] if token is None else token)


@dataclass
class Controlled:
    """A control plane; `process` changes when it is started again."""

    directory: Path
    options: tuple[str, ...]
    network: str
    process: subprocess.Popen[bytes] = field(init=False)
    url: str = field(init=False)
    internal_url: str = field(init=False)

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def command(self, *words: str) -> str:
        """A command beside the server, `client create` say; what it printed."""
        done = CliRunner().invoke(main, ["control", *words, *self._where()])
        assert done.exit_code == 0, done.output
        return done.stdout

    def _where(self) -> list[str]:
        database = [one for one in self.options if one.startswith("--database")]
        return [f"--state-dir={self.state_dir}", *database]

    def account(self) -> Account:
        """A new client, made as `hutch control client create` makes it."""
        database = [one.partition("=")[2] for one in self.options if one.startswith("--database")]
        config = control_config(self.state_dir, database=database[0] if database else None)
        with open_records(config) as (store, vault):
            made = store.write_now(creating(vault, "test"))
        return Account(self.url, made.id, made.secret)

    def start(self) -> None:
        """Starts it and waits until its listeners stand."""
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        # The same ports again, so that clients find what was restarted.
        port = httpx2.URL(self.url).port if hasattr(self, "url") else 0
        internal = httpx2.URL(self.internal_url).port if hasattr(self, "internal_url") else 0
        line = [
            *(sys.executable, "-m", "hutch.cli", "control", f"--ready-file={ready}"),
            *(f"--state-dir={self.state_dir}", f"--network={self.network}"),
            *(f"--port={port}", f"--internal-port={internal}", *self.options),
        ]
        environment = {**os.environ, "HUTCH_RIPGREP_URL": "http://127.0.0.1:9"}
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                line, stdout=sink, stderr=sink, env=environment, cwd="/"
            )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the control plane did not start:\n{self.log.read_text()}")
            time.sleep(0.01)  # a file appears without telling anybody
        told = json.loads(ready.read_text())
        self.url, self.internal_url = told["url"], told["internal_url"]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def internal(self, path: str, **query: Any) -> httpx2.Response:
        """A question as a gateway asks it."""
        token = (self.state_dir / "gateway.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.get(self.internal_url + path, params=query, headers=headers, timeout=60)

    def servers(self) -> dict[str, int]:
        """The servers of workspaces that run: process ids by workspace, from their command lines."""
        found = {}
        root = f"--state-dir={self.state_dir / 'workspaces'}/"
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                for word in (place / "cmdline").read_bytes().decode("utf-8", "replace").split("\0"):
                    if word.startswith(root):
                        found[word.removeprefix(root).partition("/")[0]] = int(place.name)
        return found


@contextmanager
def controlling(directory: Path, *options: str) -> Iterator[Controlled]:
    """`hutch control` on free ports, stopped by its own pid, with what it left running."""
    directory.mkdir(parents=True, exist_ok=True)
    # Test files run beside each other, and an address belongs to one workspace on a machine.
    network = f"127.{random.randint(2, 254)}.{random.randint(0, 255)}.0/24"
    one = Controlled(directory, options, network)
    one.start()
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.stop()
        for pid in one.servers().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until(lambda: not one.servers(), "servers of workspaces end")


def until(holds: Any, what: str, seconds: float = SECONDS) -> Any:
    """Waits until something holds; what it was. For what tells nobody."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)
    return found

"""A long call through Node's `fetch` and a proxy that gives up after silence.

The times of production, a thirtieth of each: signs of life after 10 s and then each 15 s, a proxy
that waits for 20. Source: wire contract, section 4, "A synchronous call".
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.serving import Target, serving

SCALE = 30
FETCH = """
const [url, token] = process.argv.slice(1);
const answer = await fetch(`${url}/exec`, {
  method: "POST",
  headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
  body: JSON.stringify({ cmd: "sleep 3; echo done; exit 3" }),
});
console.log(JSON.stringify([answer.status, await answer.json()]));
"""


@contextmanager
def impatient(port: int, seconds: float) -> Iterator[int]:
    """A proxy that cuts a connection on which the server says nothing for so long."""

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            server.settimeout(seconds)
            up = threading.Thread(target=carry, args=(client, server), daemon=True)
            up.start()
            carry(server, client)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def fetched(target: Target) -> subprocess.CompletedProcess[str]:
    with impatient(target.port, 20 / SCALE) as port:
        url = f"http://127.0.0.1:{port}"
        words = ["node", "--input-type=module", "-e", FETCH, url, target.token]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_signs_of_life_carry_a_call_through(tmp_path: Path) -> None:
    first, then = f"--exec-silent-seconds={10 / SCALE}", f"--silence-seconds={15 / SCALE}"
    with serving(tmp_path, first, then) as target:
        done = fetched(target)
    assert done.returncode == 0, done.stderr
    status, task = json.loads(done.stdout)
    assert (status, task["exit_code"], task["stdout"]) == (200, 3, "done\n")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_without_them_it_would_have_been_cut(tmp_path: Path) -> None:
    with serving(tmp_path, "--exec-silent-seconds=60") as target:
        done = fetched(target)
    assert done.returncode != 0
    assert "fetch failed" in done.stderr or "terminated" in done.stderr

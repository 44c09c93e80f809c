"""A command in a directory that hangs holds up whoever asked for it, and nobody else.

The mount is FUSE with nobody behind it. Source: wire contract, section 1, "a client that stalls".
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

from tests import mounting
from tests.commands import run, until
from tests.mounting import hung, threads_waiting
from tests.serving import Target, serving

pytestmark = mounting.needs_fuse

MANY = 12


def start_in(stack: ExitStack, target: Target, place: Path, name: str) -> None:
    """Asks for a command there, and does not wait for the answer."""
    body = b'{"cmd":["true"],"cwd":"%s/%s","id":"%s"}' % (
        str(place).encode(),
        name.encode(),
        name.encode(),
    )
    line = stack.enter_context(socket.create_connection(("127.0.0.1", target.port)))
    line.sendall(
        b"POST /exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
        % (target.token.encode(), len(body))
        + body
    )


def test_other_commands_run_and_the_server_ends(tmp_path: Path, tree: Path) -> None:
    with hung(tree / "hung") as place, ExitStack() as stack:
        with serving(tmp_path / "server", "--grace-seconds=0.1", "--exec-stop-seconds=0.1") as one:
            for number in range(MANY):
                start_in(stack, one, place, f"hung{number}")
            until(lambda: threads_waiting(one.pid) >= MANY)
            with one.client() as client:
                assert run(client, ["echo", "a"])["stdout"] == "a\n"
                assert client.json("/exec/hung0")["status"] == "pending"
                began = time.monotonic()
                told = client.failure("DELETE", "/exec/hung0", 409)
                assert "being started" in told["error"]
                assert time.monotonic() - began < 10
        # `serving` has stopped it by now, and raises where it did not end.

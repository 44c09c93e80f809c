"""Terminals in a directory that hangs hold up whoever asked for them, and nobody else.

The mount is FUSE with nobody behind it. Source: wire contract, section 1, "a client that stalls".
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests import mounting
from tests.mounting import hung, threads_waiting
from tests.serving import serving
from tests.sockets import posting
from tests.terminals import terminal
from tests.watching import wait_until

pytestmark = mounting.needs_fuse


def test_others_are_opened_what_hangs_is_told_and_the_server_ends(
    tmp_path: Path, tree: Path
) -> None:
    options = ("--terminals=3", "--grace-seconds=0.1", "--exec-stop-seconds=0.1")
    with hung(tree / "hung") as place, serving(tmp_path / "server", *options) as target:
        # A name each: the second to ask for one would wait for the first.
        bodies = [{"cmd": ["true"], "cwd": f"{place}/{number}"} for number in range(3)]
        with target.client() as client, ExitStack() as stack:
            stack.enter_context(posting(target, "/terminals", bodies[0]))
            wait_until(lambda: threads_waiting(target.pid) == 1)
            with terminal(client, ["cat"]):
                assert len(client.json("/terminals")["terminals"]) == 1
            for body in bodies[1:]:
                stack.enter_context(posting(target, "/terminals", body))
            wait_until(lambda: threads_waiting(target.pid) == 3)
            told = client.failure("POST", "/terminals", 429, body={"cmd": ["cat"]})
            assert "3 are being started" in told["error"]
    # `serving` has stopped it by now, and raises where it did not end.

"""Processes by session: who is told from whom.

Source: design, section 3, "Processes".
"""

from __future__ import annotations

import os
import select
import subprocess

from hutch.runtime.processes import sessions
from hutch.runtime.processes.start import Program, start


def test_a_leader_that_ended_at_once_is_told_from_a_later_process_with_its_number() -> None:
    """Without that, what is ended later is whatever has that number by then."""
    with subprocess.Popen(["true"]) as leader:
        alive = sessions.started(os.getpid())
        descriptor = os.pidfd_open(leader.pid)
        select.select([descriptor], [], [])
        os.close(descriptor)
        assert sessions.look(leader.pid) is None
        ended = sessions.started(leader.pid)
    assert alive is not None
    assert ended is not None
    assert ended >= alive
    assert sessions.started(leader.pid) is None  # it was reaped


def test_a_tree_knows_when_its_leader_began_however_short_that_lived() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for _ in range(50):
            program = Program(b"/bin/true", [b"true"], {}, b"/")
            process, tree = start(program, (null, null, null), None)
            assert tree.started is not None
            select.select([process.fileno()], [], [])
            process.try_reap()
            process.close()
    finally:
        os.close(null)

"""Everything that a command started, as far as it can be reached.

Belongs here: sending it signals, by cgroup where there is one, else by session. Banned here:
when. All of it reads `/proc` or `/sys`: it runs in a lane.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from hutch.runtime.processes import sessions
from hutch.runtime.processes.cgroups import Cgroup


@dataclass(frozen=True, slots=True)
class Tree:
    """The processes of one task. `session` is its leader's number, `started` that one's start."""

    session: int
    started: int | None
    cgroup: Cgroup | None

    def send(self, number: int) -> None:
        """Sends a signal to all of it."""
        if self.cgroup is not None:
            self.cgroup.send(number)
        else:
            sessions.send(self.session, self.started, number)

    def send_group(self, number: int) -> None:
        """Sends a signal to its leader's process group, as a terminal would.

        Only while the leader lives, or waits to be reaped: the number is its own then.
        """
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.session, number)

    def kill(self) -> None:
        """SIGKILL to all of it, those that it is just starting included."""
        if self.cgroup is not None:
            self.cgroup.kill()
        else:
            sessions.kill(self.session, self.started)

    def is_left(self) -> bool:
        """Whether somebody is still there."""
        if self.cgroup is not None:
            return self.cgroup.is_populated()
        return bool(sessions.members(self.session, self.started))

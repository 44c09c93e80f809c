"""Processes by session, read from `/proc`: what is left where no cgroup can be made.

Belongs here: finding and ending them. Banned here: guesses about processes that left the
session. Reading all of `/proc` takes milliseconds: it runs in a lane.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Each round ends all that were there; what they started meanwhile needs another.
_ROUNDS: Final = 100
_ENDED: Final = frozenset({b"Z", b"X", b"x"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One process of `/proc`. `started` is in clock ticks after the boot."""

    pid: int
    group: int
    session: int
    started: int


def processes() -> Iterator[Seen]:
    """Every process that has not ended, as far as it can be read."""
    for name in os.listdir("/proc"):  # noqa: PTH208  # hundreds of names, no paths wanted
        if name.isdigit() and (seen := look(int(name))) is not None:
            yield seen


def look(pid: int) -> Seen | None:
    """One process; None where it is not there, or waits only to be reaped."""
    fields = _fields(pid)
    if not fields or fields[0] in _ENDED:
        return None
    return Seen(pid, int(fields[2]), int(fields[3]), int(fields[19]))


def started(pid: int) -> int | None:
    """What tells a process from a later one with its number, also where it has ended already.

    None where it was reaped.
    """
    fields = _fields(pid)
    return int(fields[19]) if fields else None


def _fields(pid: int) -> list[bytes]:
    """What `/proc/PID/stat` says, from the state on; empty where nobody is there."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    # The name in parentheses may hold anything, closing ones too.
    return text[text.rfind(b")") + 2 :].split()


def boot_id() -> str:
    """The same until the machine starts again: process numbers mean nothing beyond it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def members(session: int, started: int | None) -> list[Seen]:
    """The session's processes.

    Empty where `session` is by now the number of a process that is not the one that made it.
    """
    leader = look(session)
    if leader is not None and started is not None and leader.started != started:
        return []
    return [one for one in processes() if one.session == session]


def send(session: int, started: int | None, number: int) -> int:
    """Sends a signal to every process of the session; how many there were."""
    found = members(session, started)
    for one in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one.pid, number)
    return len(found)


def kill(session: int, started: int | None) -> None:
    """SIGKILL, until nobody is left."""
    for _ in range(_ROUNDS):
        if send(session, started, signal.SIGKILL) == 0:
            return

"""Server processes: finding those that run already, starting new ones, ending them.

Belongs here: process ids and what may be done with them. Banned here: tokens and HTTP.

A server is known by its state directory, which stands in its command line: so one that was started
by a control plane that died between the start and any note of it is found like every other. A
process id alone names nothing, since the kernel gives it out again: each is held by a pidfd, and
its command line read again once it is held.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

_PROC: Final = Path("/proc")


@dataclass(slots=True, eq=False)
class Process:
    """A running server; `child` where we started it, so that somebody reaps it, and `said_from`
    where its words begin in its log.
    """

    pid: int
    pidfd: int
    child: subprocess.Popen[bytes] | None = None
    said_from: int = 0
    is_ending: bool = field(default=False, init=False)
    ended: trio.Event = field(default_factory=trio.Event, init=False)

    async def watch(self) -> None:
        """Returns when the process has ended; to be run by whoever holds it."""
        try:
            await trio.lowlevel.wait_readable(self.pidfd)
            if self.child is not None:
                self.child.wait()
        finally:
            trio.lowlevel.notify_closing(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1
            self.ended.set()

    def signal(self, number: int) -> None:
        """Signals it, if it is there."""
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    async def end(self, seconds: float) -> bool:
        """SIGTERM, after `seconds` SIGKILL; whether it then ended in good order, by itself."""
        self.is_ending = True
        self.signal(signal.SIGTERM)
        with trio.move_on_after(seconds):
            await self.ended.wait()
        if self.ended.is_set():
            return self.child is None or self.child.returncode == 0
        self.signal(signal.SIGKILL)
        await self.ended.wait()
        return False


def state_option(state_dir: Path) -> str:
    """The word of a command line by which a server is known."""
    return f"--state-dir={state_dir}"


def find(state_dir: Path) -> Process | None:
    """The server of a state directory that runs. Blocks a little: it looks at every process."""
    word = os.fsencode(state_option(state_dir))
    for pid in _pids():
        if word in _words(pid):
            process = _hold(pid, word)
            if process is not None:
                return process
    return None


def _hold(pid: int, word: bytes) -> Process | None:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    if word in _words(pid):
        return Process(pid, pidfd)
    os.close(pidfd)
    return None


def _pids() -> Iterator[int]:
    for place in _PROC.iterdir():
        if place.name.isdigit():
            yield int(place.name)


def _words(pid: int) -> list[bytes]:
    """A process's command line; empty where it is gone, is a zombie, or somebody else's."""
    try:
        place = _PROC / str(pid)
        if place.stat().st_uid != os.geteuid():
            return []
        return (place / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def spawn(command: list[str], *, cwd: Path, environment: dict[str, str], log: Path) -> Process:
    """Starts a server in a session of its own, so that it outlives us; blocks until it has begun.

    Raises OSError.
    """
    with log.open("ab") as sink:
        said_from = sink.tell()
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        return Process(child.pid, os.pidfd_open(child.pid), child, said_from)
    except BaseException:
        child.kill()
        child.wait()
        raise

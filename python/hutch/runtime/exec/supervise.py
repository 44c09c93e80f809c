"""A running command's life: its output is read, its end awaited, its time kept.

Belongs here: what happens between the spawn and the moment when nobody holds the task's pipes
any more. Banned here: who asked for it, the journal, the wire. Nothing polls: the end comes by
the pidfd, output by the pipes, the last process's end by the cgroup.
Source: wire contract, section 4; design, section 3, "Processes".
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from hutch import _native
from hutch.runtime.exec.launch import Started
from hutch.runtime.exec.output import Output
from hutch.runtime.exec.stdin import Stdin
from hutch.runtime.exec.task import Task
from hutch.runtime.lanes import Lane
from hutch.runtime.processes.remains import outlive
from hutch.wire.config import MIB, Limits
from hutch.wire.errors import Failure
from hutch.wire.exec import Resources

_PIECE: Final = 64 * 1024
# What one turn of the loop takes from a pipe before others have theirs.
_TURN: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Orders:
    """What was asked for beside the command itself."""

    timeout_seconds: float
    stdin: bytes
    close_stdin: bool

    @property
    def has_first(self) -> bool:
        """Whether standard input gets something, or its end, before anybody else writes."""
        return bool(self.stdin) or self.close_stdin


@dataclass(slots=True)
class _Pipe:
    """One of the two that the command writes to. `eof` is set when its last writer has gone."""

    descriptor: int
    output: Output
    eof: trio.Event = field(default_factory=trio.Event)

    def waiting(self) -> int:
        """How many bytes lie in it."""
        if self.eof.is_set():
            return 0
        raw = fcntl.ioctl(self.descriptor, termios.FIONREAD, b"\0" * 4)
        return int(struct.unpack("i", raw)[0])


class Supervision:
    """One task from its start to the end of its last writer."""

    def __init__(self, task: Task, started: Started, limits: Limits, lane: Lane) -> None:
        self._task = task
        self._process = started.process
        self._tree = started.tree
        self._limits = limits
        self._lane = lane
        self._pipes = (_Pipe(started.stdout, task.stdout), _Pipe(started.stderr, task.stderr))

    async def run(self, orders: Orders, ended: Callable[[], None]) -> None:
        """Returns when nobody is left who could write. Calls `ended` once, when the task has."""
        async with trio.open_nursery() as nursery:
            for one in self._pipes:
                nursery.start_soon(self._read, one)
            if self._task.stdin is not None and orders.has_first:
                nursery.start_soon(self._feed, self._task.stdin, orders)
            await self._lead(orders.timeout_seconds, nursery, ended)
        if self._tree.cgroup is not None:
            await outlive(self._tree.cgroup)

    async def _lead(
        self, timeout_seconds: float, nursery: trio.Nursery, ended: Callable[[], None]
    ) -> None:
        how = await self._exit_within(timeout_seconds or float("inf"))
        timed_out = how is None
        if how is None:
            how = await self._end_by_force(nursery)
        await self._drain()
        self._task.end_by(how, timed_out_after=timeout_seconds if timed_out else None)
        self._task.resources = self._resources(how)
        if not all(one.eof.is_set() for one in self._pipes):
            self._task.has_escaped = await self._is_outside()
        self._finish()
        ended()

    def _finish(self) -> None:
        task = self._task
        task.stdout.freeze()
        task.stderr.freeze()
        if task.stdin is not None:
            task.stdin.close()
        # The number may be another process's from now on.
        task.process = None
        trio.lowlevel.notify_closing(self._process.fileno())
        self._process.close()

    async def _exit_within(self, seconds: float) -> _native.Ended | None:
        with trio.move_on_after(seconds):
            while True:
                await trio.lowlevel.wait_readable(self._process.fileno())
                how = self._process.try_reap()
                if how is not None:
                    return how
        return None

    async def _end_by_force(self, nursery: trio.Nursery) -> _native.Ended:
        """SIGTERM to the tree, SIGKILL to what is left of it later."""
        await self._lane.run(partial(self._tree.send, signal.SIGTERM))
        deadline = trio.current_time() + self._limits.exec_kill_seconds
        nursery.start_soon(self._kill_at, deadline)
        how = await self._exit_within(float("inf"))
        assert how is not None  # noqa: S101  # no deadline
        return how

    async def _kill_at(self, deadline: float) -> None:
        await trio.sleep_until(deadline)
        await self._lane.run(self._tree.kill)

    async def _drain(self) -> None:
        """Waits for what the leader wrote, and a little for what its descendants do."""
        wanted = [(one, one.output.total + one.waiting()) for one in self._pipes]
        with trio.move_on_after(self._limits.exec_drain_seconds):
            for one in self._pipes:
                await one.eof.wait()
        for one, total in wanted:
            while one.output.total < total and not one.eof.is_set():
                await self._task.changed.park()

    def _resources(self, how: _native.Ended) -> Resources:
        group = self._tree.cgroup
        costs = None if group is None else group.costs()
        cpu = None if costs is None else costs.cpu_seconds
        peak = None if costs is None else costs.max_rss_bytes
        return Resources(
            cpu_seconds=round(how.cpu_seconds if cpu is None else max(cpu, how.cpu_seconds), 6),
            max_rss_bytes=_floor.own_peak(how) if peak is None else peak,
            oom_killed=None if costs is None else costs.oom_killed,
        )

    async def _is_outside(self) -> bool:
        """Whether somebody holds a pipe who cannot be reached."""
        return self._tree.cgroup is None and not await self._lane.run(self._tree.is_left)

    async def _read(self, pipe: _Pipe) -> None:
        try:
            while await self._read_some(pipe):
                if pipe.output.is_full:
                    await pipe.output.spill()
                self._task.tell()
                await trio.lowlevel.checkpoint()
        finally:
            pipe.eof.set()
            os.close(pipe.descriptor)
            self._task.tell()

    async def _read_some(self, pipe: _Pipe) -> bool:
        """Takes what is there; False once there will be no more."""
        taken = 0
        while taken < _TURN and not pipe.output.is_full:
            try:
                chunk = os.read(pipe.descriptor, _PIECE)
            except BlockingIOError:
                if taken:
                    return True
                await trio.lowlevel.wait_readable(pipe.descriptor)
                continue
            if not chunk:
                return False
            pipe.output.append(chunk)
            taken += len(chunk)
        return True

    async def _feed(self, stdin: Stdin, orders: Orders) -> None:
        # A command that does not want all of its input is no error.
        with suppress(Failure):
            await stdin.write_first(orders.stdin, eof=orders.close_stdin)


# Linux counts a process's pages by processor and adds them up now and then: what it tells of our
# peak may be less than what a command has inherited of it.
_ROUGHLY: Final = 4 * MIB


class _Floor:
    """The most memory that the server has ever had resident: no command can show less.

    It only grows, and reading it takes longer than reaping: it is read when it may have grown.
    """

    def __init__(self) -> None:
        self._known = 0

    def own_peak(self, how: _native.Ended) -> int | None:
        """The command's own peak; None where the server's memory, left behind, hides it."""
        if how.max_rss_bytes > self._known:
            self._known = max(self._known, _server_peak() + _ROUGHLY)
        return how.max_rss_bytes if how.max_rss_bytes > self._known else None


_floor: Final = _Floor()


def _server_peak() -> int:
    for line in Path("/proc/self/status").read_bytes().splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0

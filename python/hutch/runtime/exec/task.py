"""A task: one command and what is known of it.

Belongs here: its state, and that state as the wire has it. Banned here: who changes it
(`supervise`), waiting for pipes, the journal.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import Final, TypeVar

import trio
from msgspec import UNSET, UnsetType

from hutch import _native
from hutch.runtime.exec.output import Output
from hutch.runtime.exec.stdin import Stdin
from hutch.runtime.processes.tree import Tree
from hutch.wire.errors import Failure
from hutch.wire.exec import SIGNALLED, TIMED_OUT, Cursor, Mode, Resources, Status, TaskFacts

T = TypeVar("T")

_SHOWN: Final = 16 * 1024  # characters


@dataclass(slots=True, eq=False)
class Task:
    """One command. `uid` is never given twice; `id` may be, once the task is forgotten."""

    uid: str
    id: str
    command: list[str]
    fingerprint: str
    ttl_seconds: int
    stdout: Output
    stderr: Output
    is_command_cut: bool = False
    key: str | None = None
    status: Status = "pending"
    created: float = field(default_factory=time.time)
    started: float | None = None
    exited: float | None = None
    mode: Mode | None = None
    pid: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    error: str | None = None
    is_lost: bool = False
    has_escaped: bool = False
    output_dropped: bool = False
    resources: Resources | None = None
    stdin: Stdin | None = None
    tree: Tree | None = None
    process: _native.Process | None = None
    # Why it could not be started; those that asked for it by the same key are told the same.
    failure: Failure | None = None
    is_forgotten: bool = False
    readers: int = 0
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    changed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def tell(self) -> None:
        """Wakes everybody who follows the task."""
        self.changed.unpark_all()

    def begin_reading(self) -> None:
        """Keeps the output for a reader, also when the task is forgotten meanwhile."""
        self.readers += 1

    def end_reading(self) -> None:
        """The reader has gone."""
        self.readers -= 1
        self.drop_if_unread()

    def drop_if_unread(self) -> None:
        """Lets the output of a forgotten task go with its last reader."""
        if self.is_forgotten and self.readers == 0:
            self.drop_output()

    def drop_output(self) -> None:
        """Lets the output go."""
        self.stdout.drop()
        self.stderr.drop()

    @property
    def end(self) -> Cursor:
        """The cursor of somebody who has read everything."""
        return Cursor(self.stdout.total, self.stderr.total)

    def end_by(self, ended: _native.Ended, *, timed_out_after: float | None) -> None:
        """Takes over how its leader ended."""
        self.exited = time.time()
        self.status = "exited"
        self.exit_code = ended.code
        if ended.signal is not None:
            self.exit_code = SIGNALLED + ended.signal
            self.signal = signal_name(ended.signal)
        if timed_out_after is not None:
            self.status, self.exit_code = "failed", TIMED_OUT
            self.error = f"timed out after {timed_out_after:g} s"

    def facts(self) -> TaskFacts:
        """The task without its output."""
        return TaskFacts(
            id=self.id,
            command=self.command,
            command_truncated=self.is_command_cut or UNSET,
            status=self.status,
            created_at=_native.rfc3339(int(self.created)),
            ttl_seconds=self.ttl_seconds,
            exec_mode=_given(self.mode),
            guest_pid=_given(self.pid),
            started_at=_time(self.started),
            exited_at=_time(self.exited),
            exit_code=_given(self.exit_code),
            signal=_given(self.signal),
            error=_given(self.error),
            lost=self.is_lost or UNSET,
            escaped=self.has_escaped or UNSET,
            output_dropped=self.output_dropped or UNSET,
            resources=_given(self.resources),
        )


def _given(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _time(moment: float | None) -> str | UnsetType:
    return UNSET if moment is None else _native.rfc3339(int(moment))


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; real-time signals by their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def signal_number(given: str | int) -> int:
    """9 for `SIGKILL`, `KILL`, `kill`, `9`. Raises `Failure` (bad_request)."""
    text = str(given).strip().upper()
    try:
        if text.isascii() and text.isdigit():
            return int(signal.Signals(int(text)))
        return int(signal.Signals[text if text.startswith("SIG") else f"SIG{text}"])
    except (ValueError, KeyError):
        raise Failure(
            "bad_request", f"signal: not a signal: {text[:40]!r}; give SIGINT, say"
        ) from None


def shown(command: list[str]) -> tuple[list[str], bool]:
    """The command as tasks show it, and whether it was cut: thousands of them are remembered."""
    room, found = _SHOWN, list[str]()
    for word in command:
        if len(word) > room:
            return [*found, word[:room]], True
        found.append(word)
        room -= len(word)
    return found, False

"""What the journal tells at start: tasks that ended, tasks that were lost, keys that were used.

Belongs here: reading the lines, and ending what a crash left running where no cgroup did so.
Banned here: guesses about how a lost task ended: it has no exit code.
Source: wire contract, section 4, "After a crash of the server".
"""

from __future__ import annotations

import calendar
import time

from msgspec import UNSET, UnsetType

from hutch.runtime.exec.journal import Line
from hutch.runtime.exec.output import Output
from hutch.runtime.exec.registry import Key
from hutch.runtime.exec.task import Task
from hutch.runtime.lanes import Lane
from hutch.runtime.processes import sessions
from hutch.wire.exec import TaskFacts

LOST = "the server stopped while it ran; how it ended is not known"


def end_leftovers(lines: list[Line]) -> None:
    """SIGKILL to the sessions of tasks that had not ended.

    Those of others are left alone: their numbers may have been given to strangers since.
    """
    boot = sessions.boot_id()
    ended = {line.uid for line in lines if line.op == "end"}
    for line in lines:
        if line.op == "pid" and line.boot == boot and line.pid > 0 and line.uid not in ended:
            sessions.kill(line.pid, line.started or None)


def revive(lines: list[Line]) -> tuple[list[Task], dict[str, Key]]:
    """The tasks that are remembered, the oldest first, and the keys."""
    begun: dict[str, Line] = {}
    ended: dict[str, TaskFacts] = {}
    pids: dict[str, int] = {}
    keys: dict[str, Key] = {}
    for line in lines:
        match line.op:
            case "begin":
                begun[line.uid] = line
                _keep_key(keys, line)
            case "key":
                _keep_key(keys, line)
            case "pid":
                pids[line.uid] = line.pid
            case "end" if not isinstance(line.facts, UnsetType):
                ended[line.uid] = line.facts
            case "release":
                begun.pop(line.uid, None)
                for name in [name for name, key in keys.items() if key.uid == line.uid]:
                    del keys[name]
            case _:
                begun.pop(line.uid, None)
    return [_task(one, ended.get(uid), pids.get(uid)) for uid, one in begun.items()], keys


def _keep_key(keys: dict[str, Key], line: Line) -> None:
    if line.key is not UNSET and line.id is not UNSET and line.fingerprint is not UNSET:
        keys[str(line.key)] = Key(line.uid, str(line.id), str(line.fingerprint), line.at)


def _task(line: Line, end: TaskFacts | None, pid: int | None) -> Task:
    facts = end or line.facts
    assert isinstance(facts, TaskFacts)  # noqa: S101  # a `begin` line has them
    nothing = Output("/nothing", Lane(1), memory=0, ring=None)
    nothing.freeze()
    task = Task(
        uid=line.uid,
        id=facts.id,
        command=facts.command,
        is_command_cut=facts.command_truncated is True,
        fingerprint=str(line.fingerprint),
        ttl_seconds=facts.ttl_seconds,
        stdout=nothing,
        stderr=nothing,
        key=None if line.key is UNSET else str(line.key),
        created=line.at,
        output_dropped=True,
        pid=pid,
    )
    if end is None:
        _lose(task)
    else:
        _end(task, end)
    task.ready.set()
    task.ended.set()
    return task


def _lose(task: Task) -> None:
    task.status = "failed"
    task.is_lost = True
    task.error = LOST
    task.started = None if task.pid is None else task.created
    task.exited = time.time()


def _end(task: Task, facts: TaskFacts) -> None:
    task.status = facts.status
    task.mode = facts.exec_mode or None
    task.pid = facts.guest_pid or None
    task.started = _moment(facts.started_at)
    task.exited = _moment(facts.exited_at)
    task.exit_code = None if isinstance(facts.exit_code, UnsetType) else facts.exit_code
    task.signal = facts.signal or None
    task.error = facts.error or None
    task.is_lost = facts.lost is True
    task.has_escaped = facts.escaped is True
    task.resources = facts.resources or None


def _moment(text: str | UnsetType) -> float | None:
    if isinstance(text, UnsetType):
        return None
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))

"""Which tasks there are, by id and by key, and for how long.

Belongs here: who is remembered, expiry, the bounds over all finished tasks, and what the journal
must say of it. Everything here is decided at once, without waiting. Banned here: processes.
Source: wire contract, section 4; design, section 4.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

import msgspec
import trio

from hutch.runtime.exec.journal import Journal, Line
from hutch.runtime.exec.task import Task
from hutch.runtime.processes.sessions import boot_id
from hutch.wire.config import Limits
from hutch.wire.errors import Failure
from hutch.wire.exec import Gone

NEVER: Final = -1
_STALE: Final = 256

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was used: by which task, for which body, when."""

    uid: str
    id: str
    fingerprint: str
    at: float


class Registry:
    """Every task that is remembered, and every key."""

    def __init__(self, journal: Journal, limits: Limits) -> None:
        self._journal = journal
        self._boot = boot_id()
        self._limits = limits
        self._tasks: dict[str, Task] = {}
        self._keys: dict[str, Key] = {}
        # Finished ones, the earliest first, and those of them that still have output.
        self._finished: OrderedDict[str, Task] = OrderedDict()
        self._with_output: OrderedDict[str, Task] = OrderedDict()
        self._output_bytes: dict[str, int] = {}
        self._kept_bytes = 0
        self._running: dict[str, Task] = {}
        # When each expires; of what was forgotten before its time entries stay for a while.
        self._expiries: list[tuple[float, int, str]] = []
        self._numbers = count()
        self.earlier = trio.Event()

    def uses(self) -> dict[str, float]:
        """How much of its bounds is in use, by the names of `Limits`."""
        return {
            "exec_tasks": len(self._running),
            "exec_finished": len(self._finished),
            "exec_finished_bytes": self._kept_bytes,
            "exec_keys": len(self._keys),
        }

    # --- looking ------------------------------------------------------------------------------

    def all(self) -> list[Task]:
        """Every task, the oldest first."""
        return list(self._tasks.values())

    def running(self) -> list[Task]:
        """Those that have not ended."""
        return list(self._running.values())

    def get(self, identifier: str) -> Task:
        """The task of an id. Raises `Failure` (not_found)."""
        task = self._tasks.get(identifier)
        if task is None:
            raise Failure("not_found", f"no such task: {identifier[:100]}")
        return task

    def find(self, *, key: str | None, identifier: str | None, fingerprint: str) -> Task | None:
        """The task that a request has started already, None where it has not.

        Raises `Failure`: conflict where the key or the id belongs to another body, `Gone` where
        the key's task is forgotten.
        """
        if key is not None:
            self._prune_keys()
            known = self._keys.get(key)
            if known is not None:
                return self._of_key(key, known, fingerprint)
        task = None if identifier is None else self._tasks.get(identifier)
        if task is not None and task.fingerprint != fingerprint:
            raise Failure("conflict", f"id: another task has it: {identifier}")
        return task

    def _of_key(self, key: str, known: Key, fingerprint: str) -> Task:
        if known.fingerprint != fingerprint:
            raise Failure(
                "conflict", f"Idempotency-Key: was used for another request, task {known.id}: {key}"
            )
        task = self._tasks.get(known.id)
        if task is None or task.uid != known.uid:
            raise Gone(f"Idempotency-Key: was used for task {known.id}, which is forgotten: {key}")
        return task

    # --- changing -----------------------------------------------------------------------------

    def begin(self, task: Task) -> None:
        """Takes in a task that is about to be started, the journal first.

        Raises `Failure`: rate_limited where too many run, insufficient_storage where the journal
        cannot be written.
        """
        most = self._limits.exec_tasks
        if len(self._running) >= most:
            raise Failure(
                "rate_limited", f"{most} commands are running, the most there may be; end one"
            )
        self._journal.append(_begin(task))
        self._tasks[task.id] = self._running[task.uid] = task
        if task.key is not None:
            self._keys[task.key] = Key(task.uid, task.id, task.fingerprint, task.created)

    def release(self, task: Task) -> None:
        """Takes back a task of which nothing was started: its key and id are free again."""
        self._tasks.pop(task.id, None)
        self._running.pop(task.uid, None)
        if task.key is not None:
            self._keys.pop(task.key, None)
        self._note(Line(op="release", uid=task.uid))

    def started(self, task: Task) -> None:
        """Notes the process, so that what a crash leaves of it can be found."""
        self._note(_process(task, self._boot))

    def finished(self, task: Task) -> None:
        """Takes note of a task's end, and of when it expires."""
        self._running.pop(task.uid, None)
        self._note(Line(op="end", uid=task.uid, facts=task.facts()))
        if not task.is_forgotten:
            self.keep_finished(task)

    def keep_finished(self, task: Task) -> None:
        """Counts a finished task among those that are remembered for a while."""
        self._finished[task.uid] = task
        self._with_output[task.uid] = task
        self._output_bytes[task.uid] = kept = task.stdout.kept + task.stderr.kept
        self._kept_bytes += kept
        if task.ttl_seconds != NEVER:
            left = (task.exited or time.time()) + task.ttl_seconds - time.time()
            entry = (trio.current_time() + left, next(self._numbers), task.uid)
            heapq.heappush(self._expiries, entry)
            if self._expiries[0] is entry:
                self.earlier.set()
            self._drop_stale()
        while len(self._finished) > self._limits.exec_finished:
            self.forget(next(iter(self._finished.values())))
        self._bound_output()

    def _bound_output(self) -> None:
        """The oldest lose their output first; the last one its beginning (`oversized`)."""
        while self._kept_bytes > self._limits.exec_finished_bytes and len(self._with_output) > 1:
            oldest = next(iter(self._with_output.values()))
            if self._without_output(oldest):
                oldest.output_dropped = True
                oldest.drop_output()

    def _without_output(self, task: Task) -> int:
        """Counts its output no more; how many bytes that were."""
        self._with_output.pop(task.uid, None)
        size = self._output_bytes.pop(task.uid, 0)
        self._kept_bytes -= size
        return size

    def oversized(self, task: Task) -> bool:
        """Whether this finished task alone has more output than all together may keep."""
        return self._output_bytes.get(task.uid, 0) > self._limits.exec_finished_bytes

    def forget(self, task: Task) -> None:
        """Remembers a task no more; its key stays."""
        if task.is_forgotten:
            return
        task.is_forgotten = True
        if self._tasks.get(task.id) is task:
            del self._tasks[task.id]
        self._finished.pop(task.uid, None)
        self._without_output(task)
        task.drop_if_unread()
        self._note(Line(op="forget", uid=task.uid))

    def next_expiry(self) -> float:
        """When the next task expires, on Trio's clock."""
        while self._expiries and self._expiries[0][2] not in self._finished:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else float("inf")

    def expire(self) -> None:
        """Forgets what has expired. Processes that it left live on."""
        while self.next_expiry() <= trio.current_time():
            self.forget(self._finished[heapq.heappop(self._expiries)[2]])

    def _drop_stale(self) -> None:
        if len(self._expiries) > 2 * len(self._finished) + _STALE:
            self._expiries = [one for one in self._expiries if one[2] in self._finished]
            heapq.heapify(self._expiries)

    def restore(self, tasks: list[Task], keys: dict[str, Key]) -> None:
        """Takes over what the journal told of an earlier instance."""
        self._keys = keys
        for task in tasks:
            self._tasks[task.id] = task
            self.keep_finished(task)
        self._prune_keys()
        self._journal.rewrite(self._lines())

    def _prune_keys(self) -> None:
        oldest = time.time() - self._limits.exec_key_seconds
        while self._keys:
            name, key = next(iter(self._keys.items()))
            if key.at >= oldest and len(self._keys) <= self._limits.exec_keys:
                return
            del self._keys[name]

    def _note(self, line: Line) -> None:
        """Adds what must not fail a request any more: the command has run."""
        try:
            self._journal.append(line)
        except Failure as failure:
            _log.warning("the journal of commands misses a line: %s", failure.message)
        if self._journal.wants_rewriting(len(self._tasks) + len(self._keys)):
            self._prune_keys()
            self._journal.rewrite(self._lines())

    def _lines(self) -> Iterator[Line]:
        uids = {one.uid for one in self._tasks.values()}
        for name, key in self._keys.items():
            if key.uid not in uids:
                yield _key_line(name, key)
        for task in self._tasks.values():
            yield _begin(task)
            if task.tree is not None and not task.ended.is_set():
                yield _process(task, self._boot)
            if task.ended.is_set():
                yield Line(op="end", uid=task.uid, facts=task.facts())


def _key_line(name: str, key: Key) -> Line:
    return Line(op="key", uid=key.uid, at=key.at, key=name, id=key.id, fingerprint=key.fingerprint)


def _begin(task: Task) -> Line:
    line = Line(
        op="begin",
        uid=task.uid,
        at=task.created,
        id=task.id,
        fingerprint=task.fingerprint,
        facts=task.facts(),
    )
    return line if task.key is None else msgspec.structs.replace(line, key=task.key)


def _process(task: Task, boot: str) -> Line:
    tree = task.tree
    started = 0 if tree is None else tree.started or 0
    return Line(op="pid", uid=task.uid, pid=task.pid or 0, started=started, boot=boot)

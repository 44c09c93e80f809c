"""A task's output as events, for any number of readers, each at its own pace.

Belongs here: one reader. It holds no output of its own: it has a cursor into what the task
keeps, so that a slow one slows neither the command nor anybody else. Where it falls behind what
is kept it is told so. Banned here: HTTP, signs of life (`respond` sends them).
Source: wire contract, section 4, "SSE"; HTML, section 9.2, "Server-sent events".
"""

from __future__ import annotations

from typing import Final

import trio

from hutch.runtime.exec.answers import Part, Parts, Text
from hutch.runtime.exec.output import Output
from hutch.runtime.exec.task import Task
from hutch.wire.config import Limits
from hutch.wire.exec import (
    COMMENT,
    Cursor,
    StreamName,
    event,
    event_start,
    output_event,
    whole_characters,
)

# Three quarters of it fill a line of 64 KiB: proxies like lines that are not much longer.
_CHUNK: Final = 48 * 1024


class Events:
    """A `Source` of the events of one task.

    `cursor` says what the reader has seen; without one a task that has ended gives `output`.
    """

    def __init__(
        self, task: Task, cursor: Cursor | None, limits: Limits, *, announce: bool
    ) -> None:
        self._task = task
        self._half_seconds = limits.exec_character_seconds
        self._cursor = cursor or Cursor()
        self._replay: Parts | None = None
        self._is_over = False
        self._is_stopped = False
        self._greeting = COMMENT
        if announce and cursor is None:
            self._greeting = event("task_id", {"task_id": task.id}, self._cursor)
        if cursor is None and not announce and task.ended.is_set():
            self._replay = Parts(_whole(task, limits.exec_answer_bytes))
        task.begin_reading()

    async def pull(self) -> bytes | None:
        """The next events; `exit` is the last. May be cancelled, losing nothing."""
        if self._replay is not None:
            return await self._replay.next()
        if self._greeting:
            # At once: the headers leave with the first batch, and a command may be silent long.
            greeting, self._greeting = self._greeting, b""
            return greeting
        while not self._is_over:
            patient = True
            while (batch := await self._output(patient=patient)) is None:
                if self._is_at_end():
                    return self._exit()
                patient = await self._wait()
            if batch:
                return batch
        return None

    async def _output(self, *, patient: bool) -> bytes | None:
        """What is there beyond the cursor, None for nothing yet."""
        cursor, found = self._cursor, bytearray()
        for name, output in (("stdout", self._task.stdout), ("stderr", self._task.stderr)):
            made, cursor = await self._of(name, output, cursor, patient=patient)  # type: ignore[arg-type]  # the two names
            found += made
        self._cursor = cursor
        return bytes(found) or None

    async def _of(
        self, name: StreamName, output: Output, cursor: Cursor, *, patient: bool
    ) -> tuple[bytes, Cursor]:
        seen = cursor.stdout if name == "stdout" else cursor.stderr
        # A reader may say that it has seen what never was.
        begin, chunk = await output.read(min(seen, output.total), _CHUNK)
        events = b""
        if begin > seen:
            cursor = _moved(cursor, name, begin)
            events = event("gap", {"stream": name, "skipped": begin - seen}, cursor)
        more_comes = not self._task.ended.is_set() or begin + len(chunk) < output.total
        if more_comes:
            # Where waiting has brought no more of the one that is there, it goes as it is.
            chunk = whole_characters(chunk) or (b"" if patient else chunk)
        if chunk:
            cursor = _moved(cursor, name, begin + len(chunk))
            events += output_event(name, chunk, cursor)
        return events, cursor

    def _is_at_end(self) -> bool:
        task = self._task
        return (
            task.ended.is_set()
            and self._cursor.stdout >= task.stdout.total
            and self._cursor.stderr >= task.stderr.total
        )

    def _exit(self) -> bytes:
        self._is_over = True
        return exit_event(self._task)

    async def _wait(self) -> bool:
        """Waits for news; False where half a character has waited long enough."""
        task = self._task
        behind = self._cursor.stdout < task.stdout.total or self._cursor.stderr < task.stderr.total
        with trio.move_on_after(self._half_seconds if behind else float("inf")) as scope:
            await task.changed.park()
        return not scope.cancelled_caught

    def stop(self) -> None:
        """Lets go of the task's output."""
        if not self._is_stopped:
            self._is_stopped = True
            self._task.end_reading()


def _moved(cursor: Cursor, name: StreamName, to: int) -> Cursor:
    if name == "stdout":
        return Cursor(to, cursor.stderr)
    return Cursor(cursor.stdout, to)


def exit_event(task: Task) -> bytes:
    """The last event of every stream."""
    facts = {
        "exit_code": task.exit_code,
        "pid": task.pid,
        "status": task.status,
        "signal": task.signal,
        "error": task.error,
        "lost": task.is_lost or None,
    }
    cursor = Cursor(task.stdout.total, task.stderr.total, ended=True)
    return event("exit", {name: one for name, one in facts.items() if one is not None}, cursor)


def _whole(task: Task, most: int) -> list[Part]:
    stdout, stderr = Text(task.stdout, most), Text(task.stderr, most)
    return [
        event_start("output", task.end) + b'{"stdout":"',
        stdout,
        b'","stderr":"',
        stderr,
        b'"}\n\n' + exit_event(task),
    ]

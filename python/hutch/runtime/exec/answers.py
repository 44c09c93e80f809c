"""The task object as it leaves: in pieces, its output read as the client takes it.

Belongs here: sources of bytes for whole answers. Banned here: HTTP, the events of a stream
(`events`). Nothing over some hundred KiB is ever put together.
Source: wire contract, section 4, "A synchronous call" and "Output".
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
import trio

from hutch.runtime.exec.output import Output
from hutch.runtime.exec.task import Task
from hutch.wire.errors import Failure
from hutch.wire.exec import LONGEST, is_continuation

_PIECE: Final = 128 * 1024
_BATCH: Final = 64 * 1024


class Text:
    """A part of a stream as the inside of a JSON string: UTF-8 with U+FFFD, in pieces."""

    def __init__(self, output: Output, most: int) -> None:
        self._output = output
        self._end = output.total
        self._at = max(output.start, output.total - most)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.is_truncated = self._at > 0
        self._is_first = self.is_truncated
        self.is_over = self._at >= self._end

    async def next(self) -> bytes:
        """What comes next; `is_over` says whether that was the last."""
        at, data = await self._output.read(self._at, min(_PIECE, self._end - self._at))
        if at > self._at:
            self.is_truncated = True
        data = data[: max(self._end - at, 0)]
        self._at = at + len(data)
        self.is_over = not data or self._at >= self._end
        if self._is_first:
            self._is_first = False
            data = _from_whole_character(data)
        return msgspec.json.encode(self._decoder.decode(data, final=self.is_over))[1:-1]


def _from_whole_character(data: bytes) -> bytes:
    """Without the rest of a character whose beginning was cut away."""
    for index, byte in enumerate(data[:LONGEST]):
        if not is_continuation(byte):
            return data[index:]
    return data


Part = bytes | Text | Callable[[], bytes]


class Parts:
    """Batches made of finished bytes, of text, and of what is known only once that was read."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = deque(parts)
        self._batch = bytearray()

    async def next(self) -> bytes | None:
        """The next batch, None at the end. May be cancelled, losing nothing."""
        while self._parts and len(self._batch) < _BATCH:
            part = self._parts[0]
            if isinstance(part, Text):
                if not part.is_over:
                    self._batch += await part.next()
                    continue
            else:
                self._batch += part if isinstance(part, bytes) else part()
            self._parts.popleft()
        batch, self._batch = bytes(self._batch), bytearray()
        return batch or None

    @property
    def is_over(self) -> bool:
        """Whether the last batch has been given."""
        return not self._parts


def task_parts(task: Task, most: int) -> list[Part]:
    """The task object, with the last `most` bytes of each stream."""
    stdout, stderr = Text(task.stdout, most), Text(task.stderr, most)
    totals = {"stdout_bytes": task.stdout.total, "stderr_bytes": task.stderr.total}

    def rest() -> bytes:
        cut = {"stdout_truncated": stdout.is_truncated, "stderr_truncated": stderr.is_truncated}
        return b'",' + msgspec.json.encode(totals | cut)[1:]

    head = msgspec.json.encode(task.facts())[:-1]
    return [head + b',"stdout":"', stdout, b'","stderr":"', stderr, rest]


class TaskAnswer:
    """A `Source` of the task object, once the task has ended or `wait_seconds` are over.

    While it waits it gives a blank after `first_silence`, then one each `silence`: JSON allows
    them in front, and no client or proxy gives the connection up.
    """

    def __init__(
        self,
        task: Task,
        *,
        most: int,
        wait_seconds: float,
        first_silence: float,
        silence: float,
    ) -> None:
        self._task = task
        self._most = most
        self._deadline = trio.current_time() + wait_seconds
        self._sign = trio.current_time() + first_silence
        self._silence = silence
        self._parts: Parts | None = None
        self._first: bytes | None = None
        self._is_stopped = False
        task.begin_reading()

    async def whole(self) -> bytes | None:
        """The whole answer where it is small, and there before a sign of life is due.

        None where it is not; `pull` gives it then.
        """
        batch = await self.pull()
        if self._parts is not None and self._parts.is_over:
            return batch
        self._first = batch
        return None

    async def pull(self) -> bytes | None:
        """The next batch, or a sign of life."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._parts is None:
            if not await self._has_ended():
                return b" "
            self._parts = Parts(task_parts(self._task, self._most))
        return await self._parts.next()

    async def _has_ended(self) -> bool:
        """Waits for the end; False where a sign of life is due."""
        if self._task.ended.is_set() or self._deadline <= trio.current_time():
            return True
        with trio.move_on_at(min(self._deadline, self._sign)):
            await self._task.ended.wait()
            return True
        if self._deadline <= trio.current_time():
            return True
        self._sign = trio.current_time() + self._silence
        return False

    def stop(self) -> None:
        """Lets go of the task's output."""
        if not self._is_stopped:
            self._is_stopped = True
            self._task.end_reading()


class RawOutput:
    """A `Source` of one stream's bytes, exactly as they are kept, up to what is there now.

    Raises `Failure` (range_not_satisfiable) for an offset that is kept no more.
    """

    def __init__(
        self, task: Task, output: Output, *, offset: int | None, limit: int | None
    ) -> None:
        if offset is not None and offset < output.start:
            raise Failure(
                "range_not_satisfiable",
                f"offset: {offset} is kept no more; the first byte kept is {output.start}",
                extra={"first_kept": output.start, "total_bytes": output.total},
            )
        self.total = output.total
        self.begin = min(output.start if offset is None else offset, output.total)
        self._at = self.begin
        room = output.total - self.begin
        self._end = self.begin + (room if limit is None else min(limit, room))
        self._output = output
        self._task = task
        self._is_stopped = False
        task.begin_reading()

    @property
    def length(self) -> int:
        """How many bytes it will give."""
        return self._end - self.begin

    async def pull(self) -> bytes | None:
        """The next batch. Raises `Failure` (conflict) where newer output took its place."""
        if self._at >= self._end:
            return None
        at, data = await self._output.read(self._at, min(_PIECE, self._end - self._at))
        if at != self._at or not data:
            raise Failure("conflict", "newer output took the place of what was being read")
        self._at += len(data)
        return data

    def stop(self) -> None:
        """Lets go of the task's output."""
        if not self._is_stopped:
            self._is_stopped = True
            self._task.end_reading()

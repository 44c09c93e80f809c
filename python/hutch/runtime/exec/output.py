"""What a command wrote to one stream: the end of it, or all of it, bounded in memory.

Belongs here: keeping bytes and giving them back by offset. Banned here: pipes, text, who reads.

What is newest lies in memory; when that is full, all of it goes to a file: a ring of the last
bytes, or, where everything is kept, a file that grows. Offsets count from the stream's first
byte and never change; `start` is the first that is still kept.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio

from hutch import _native
from hutch.runtime.lanes import Lane

_log: Final = logging.getLogger(__name__)


class Output:
    """One stream. `ring` bytes of it are kept beside those in memory; None keeps all."""

    def __init__(self, path: str, lane: Lane, *, memory: int, ring: int | None) -> None:
        self._path = path
        self._lane = lane
        self._most = memory
        self._ring = ring
        self._recent = bytearray()
        self._on_disk = 0
        self._lock = trio.Lock()
        self._has_file = False
        self._is_frozen = False
        self.start = 0
        self.total = 0
        self.is_dropped = False

    def append(self, chunk: bytes) -> None:
        """Takes what was written, until `freeze`; afterwards it is dropped."""
        if not self._is_frozen:
            self._recent += chunk
            self.total += len(chunk)

    def freeze(self) -> None:
        """Takes no more: the task has ended, and its output with it."""
        self._is_frozen = True

    @property
    def is_full(self) -> bool:
        """Whether `spill` must come before the next `append`."""
        return len(self._recent) >= self._most

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        return self.total - self.start

    async def spill(self) -> None:
        """Moves what is in memory to the file. Where the disk refuses it, it is lost, and told."""
        async with self._lock:
            if self.is_dropped or not self._recent:
                return
            data, begin = bytes(self._recent), self._on_disk
            end = begin + len(data)
            if self._ring is not None:
                # Before the bytes are written over: whoever reads them looks again afterwards.
                self.start = max(self.start, end - self._ring)
            self._has_file = True
            try:
                await self._lane.run(partial(_write, self._path, data, begin, self._ring))
            except OSError as error:
                _log.warning("output of a command is lost: %s: %s", error.strerror, self._path)
                self.start = end
            if self.is_dropped:
                self._unlink()
                return
            del self._recent[: len(data)]
            self._on_disk = end

    async def read(self, offset: int, most: int) -> tuple[int, bytes]:
        """What is kept from `offset` on: where it really begins, and at most `most` bytes.

        It begins later where the bytes asked for are kept no more; empty at the end.
        """
        while True:
            at = max(offset, self.start)
            if at >= self._on_disk:
                begin = at - self._on_disk
                return at, bytes(memoryview(self._recent)[begin : begin + most])
            count = min(most, self._on_disk - at)
            try:
                data = await self._lane.run(partial(_read, self._path, count, at, self._ring))
            except OSError:
                data = b""
            if self.start <= at:
                if data:
                    return at, data
                self.start = self._on_disk  # somebody took the file away

    def drop(self) -> None:
        """Forgets all of it."""
        self._is_frozen = self.is_dropped = True
        self.start = self._on_disk = self.total
        self._recent = bytearray()
        if not self._lock.locked():
            self._unlink()

    async def trim(self, most: int) -> None:
        """Keeps no more than the last `most` bytes, on the disk too."""
        async with self._lock:
            begin = min(self.total - most, self._on_disk)
            if begin <= self.start or self.is_dropped:
                return
            self.start = begin
            with suppress(OSError):
                await self._lane.run(partial(_punch, self._path, begin))

    def _unlink(self) -> None:
        if self._has_file:
            self._has_file = False
            path = Path(self._path)
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()


def _write(path: str, data: bytes, begin: int, ring: int | None) -> None:
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if ring is not None and len(data) > ring:
        begin += len(data) - ring
        data = data[-ring:]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            at = begin if ring is None else begin % ring
            room = len(rest) if ring is None else min(len(rest), ring - at)
            done = os.pwrite(descriptor, rest[:room], at)
            rest, begin = rest[done:], begin + done
    finally:
        os.close(descriptor)


def _read(path: str, count: int, at: int, ring: int | None) -> bytes:
    if ring is not None:
        at %= ring
        count = min(count, ring - at)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, count, at)
    finally:
        os.close(descriptor)


def _punch(path: str, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        _native.punch_hole(descriptor, size)
    finally:
        os.close(descriptor)

"""A file's exact bytes, in constant memory.

Belongs here: opening, and handing over a part in batches. Banned here: ranges as HTTP has them
(`wire.raw`). Source: wire contract, section 2, "Raw".
"""

from __future__ import annotations

import os
from functools import partial
from typing import Final

from hutch import _native
from hutch.runtime.lanes import Lane
from hutch.wire.conditions import Version
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.paths import display

BATCH_BYTES: Final = 256 * 1024
_WIDTH: Final = 16


class RawFile:
    """An open file; a `Source` of its bytes, or of the part that was chosen.

    Up to one batch is read at once, so that `size` is what there is: `fstat` says 0 of files in
    `/proc` and a page of those in `/sys`. It is None where a file without a size goes on.
    What was opened `at_once` lies on a disk and has the size that it says.
    """

    def __init__(self, path: bytes, lane: Lane, *, at_once: bool) -> None:
        self._path = path
        self._lane = lane
        self._descriptor = _native.open_regular(path, at_once=at_once)
        try:
            stat = os.fstat(self._descriptor)
            # No block device: perhaps nothing but the kernel is behind it.
            made = os.major(stat.st_dev) == 0 and _native.is_made_on_reading(self._descriptor)
            self.version = None if made else Version.of(stat)
            self.size: int | None = stat.st_size
            self._start = b""
            if stat.st_size <= BATCH_BYTES and not at_once:
                self._start = _read_up_to(self._descriptor, stat.st_size or BATCH_BYTES)
                is_all = stat.st_size > 0 or len(self._start) < BATCH_BYTES
                self.size = len(self._start) if is_all else None
        except BaseException:
            self.stop()
            raise
        self._at, self._end = 0, self.size

    def choose(self, part: range) -> None:
        """Hands over these bytes only, all of them there when `size` was told."""
        self._at, self._end = part.start, part.stop

    async def pull(self) -> bytes | None:
        """The next batch, None at the end.

        Raises `Failure` (conflict) where the file has become shorter than `size` meanwhile.
        """
        if self._at == self._end:
            return None
        batch = self._start[self._at : self._end]
        if not batch:
            batch = await self._read()
        self._at += len(batch)
        return batch or None

    def stop(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def close(self) -> None:
        """The same, in the word of `contextlib.closing`."""
        self.stop()

    async def _read(self) -> bytes:
        descriptor, at = self._descriptor, self._at
        try:
            if self._end is None:
                return await self._lane.run(partial(os.read, descriptor, BATCH_BYTES))
            count = min(BATCH_BYTES, self._end - at)
            try:
                # A visit to a thread takes as long as reading two batches from memory.
                return _native.read_at_once(descriptor, count, at)
            except BlockingIOError:
                batch = await self._lane.run(partial(os.pread, descriptor, count, at))
        except OSError as error:
            raise from_os_error(error, path=self._path) from error
        if not batch:
            raise Failure("conflict", f"became shorter while it was read: {display(self._path)}")
        return batch


class Raws:
    """The service that opens files for their exact bytes."""

    def __init__(self) -> None:
        self._lane = Lane(_WIDTH)

    async def open(self, path: bytes) -> RawFile:
        """An open file, to be stopped by the caller.

        Raises `Failure`: not_found, forbidden, bad_request for what is no regular file.
        """
        try:
            try:
                return RawFile(path, self._lane, at_once=True)
            except BlockingIOError:
                return await self._lane.run(partial(RawFile, path, self._lane, at_once=False))
        except OSError as error:
            raise from_os_error(error, path=path) from error


def _read_up_to(descriptor: int, size: int) -> bytes:
    """What there is, but no more than `size`; of `/proc` a read gives a page at most."""
    parts: list[bytes] = []
    while size > 0 and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

"""A file's exact bytes, in constant memory.

Belongs here: opening, and handing over a part in batches. Banned here: ranges as HTTP has them
(`wire.raw`). Source: wire contract, section 2, "Raw".
"""

from __future__ import annotations

import errno
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


class _Descriptor:
    """An owned descriptor, closed with the last reference.

    A read that was left behind in its thread holds one, so that the number is not another
    file's by the time the read begins.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)

    def read(self, size: int, _stop: _native.Stop | None = None) -> bytes:
        """What comes next."""
        return os.read(self.number, size)

    def read_at(self, size: int, offset: int, _stop: _native.Stop) -> bytes:
        """What lies at an offset."""
        return os.pread(self.number, size, offset)


class RawFile:
    """An open file; a `Source` of its bytes, or of the part that was chosen.

    What was opened `at_once` lies on a disk and has the size that it says. Of the rest up to a
    batch is read on opening, so that `size` is what there is: `fstat` says 0 of files in `/proc`
    and a page of those in `/sys`. It is None where a file without a size goes on.
    """

    def __init__(self, path: bytes, lane: Lane, *, at_once: bool) -> None:
        self._path = path
        self._lane = lane
        file = _Descriptor(_native.open_regular(path, at_once=at_once))
        self._file: _Descriptor | None = file
        stat = os.fstat(file.number)
        # No block device: perhaps nothing but the kernel is behind it.
        made = os.major(stat.st_dev) == 0 and _native.is_made_on_reading(file.number)
        self.version = None if made else Version.of(stat)
        self.size: int | None = stat.st_size
        self._start = b""
        if stat.st_size <= BATCH_BYTES and not at_once:
            self._start = _first_of(file, stat.st_size or BATCH_BYTES, made=made)
            is_all = stat.st_size > 0 or len(self._start) < BATCH_BYTES
            self.size = len(self._start) if is_all else None
        self._at, self._end = 0, self.size

    def choose(self, part: range) -> None:
        """Hands over these bytes only, all of them there when `size` was told."""
        self._at, self._end = part.start, part.stop

    async def pull(self) -> bytes | None:
        """The next batch, None at the end.

        Raises `Failure` (conflict) where the file has become shorter than `size` meanwhile.
        """
        if self._at == self._end or self._file is None:
            return None
        batch = self._start[self._at : self._end]
        if not batch:
            batch = await self._read(self._file)
        self._at += len(batch)
        return batch or None

    def stop(self) -> None:
        """Closes the file."""
        self._file = None

    async def _read(self, file: _Descriptor) -> bytes:
        try:
            if self._end is None:
                return await self._lane.look(partial(file.read, BATCH_BYTES))
            count = min(BATCH_BYTES, self._end - self._at)
            try:
                # A visit to a thread takes as long as reading two batches from memory.
                return _native.read_at_once(file.number, count, self._at)
            except BlockingIOError:
                batch = await self._lane.look(partial(file.read_at, count, self._at))
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
                return await self._lane.look(partial(self._open, path))
        except OSError as error:
            raise from_os_error(error, path=path) from error

    def _open(self, path: bytes, _stop: _native.Stop) -> RawFile:
        return RawFile(path, self._lane, at_once=False)


def _first_of(file: _Descriptor, size: int, *, made: bool) -> bytes:
    """`_read_up_to`. What the kernel makes on reading and does not make now is no file."""
    try:
        return _read_up_to(file, size)
    except OSError as error:
        if made and error.errno == errno.EIO:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO)) from error
        raise


def _read_up_to(file: _Descriptor, size: int) -> bytes:
    """What there is, but no more than `size`; of `/proc` a read gives a page at most."""
    parts: list[bytes] = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

"""Reading a file as text: a `ReadQuery` in, batches of a finished JSON answer out.

Belongs here: opening the extension's reading, and the answer around the content. Banned here:
looking into the content. Source: wire contract, section 2, "Read".
"""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import Final

from msgspec import UNSET

from hutch import _native
from hutch.runtime.lanes import Lane
from hutch.wire.conditions import Version
from hutch.wire.config import Limits
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.paths import display, encode_b64
from hutch.wire.read import (
    ContentHead,
    ContentTail,
    ReadQuery,
    after_content,
    before_content,
    check_read,
)

BATCH_BYTES: Final = 256 * 1024
# Up to here the whole answer is made in the one visit to a thread that opens the file.
_SMALL: Final = 256 * 1024
# And up to here without any, where the file is in memory: a fraction of a millisecond.
_SMALLEST: Final = 64 * 1024
_WIDTH: Final = 16


class _Pieces:
    """The answer, piece by piece; blocking, unless it was opened `at_once`."""

    def __init__(self, query: ReadQuery, limit: int, *, at_once: bool) -> None:
        self.query = query
        self._native = _native.Reading(
            query.path,
            first=query.start_line,
            last=query.end_line,
            form=query.form,
            limit=limit,
            at_once=at_once,
        )
        descriptor = self._native.fileno()
        stat = os.fstat(descriptor)
        # No block device: perhaps nothing but the kernel is behind it.
        made = os.major(stat.st_dev) == 0 and _native.is_made_on_reading(descriptor)
        self.version = None if made else Version.of(stat)
        self.size = stat.st_size
        self._is_begun = self._is_ended = False

    def next(self, stop: _native.Stop) -> bytes:
        """The next piece, empty at the end. Raises OSError, ValueError, InterruptedError."""
        if self._is_ended:
            return b""
        piece = b""
        if not self._is_begun:
            self._is_begun = True
            self._native.scan(stop)
            piece = before_content(_head(self.query))
        piece += self._native.next(BATCH_BYTES)
        if self._native.is_finished():
            self._is_ended = True
            piece += after_content(_tail(self.query, self._native))
        return piece

    def all(self, stop: _native.Stop) -> bytes:
        """Every piece."""
        return b"".join(iter(partial(self.next, stop), b""))


class Reading:
    """A file being read: a `Source` of batches.

    `version` is None where the file has none, `length` where the answer's is not known ahead.
    """

    def __init__(self, pieces: _Pieces, ready: bytes | None, reads: Reads) -> None:
        self.version = pieces.version
        self.length = None if ready is None else len(ready)
        self._pieces: _Pieces | None = pieces
        self._ready = ready
        self._reads = reads

    async def pull(self) -> bytes | None:
        """The next batch, None at the end. The first is there once the file was looked through.

        Raises `Failure` where it cannot be read as asked, or has become shorter.
        """
        if self.length is not None:
            ready, self._ready = self._ready, None
            return ready
        return None if self._pieces is None else await self._reads.next(self._pieces)

    def stop(self) -> None:
        """Closes the file."""
        self._ready = self._pieces = None


class Reads:
    """The service that reads files as text."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.content_bytes
        self._lane = Lane(_WIDTH)

    async def open(self, query: ReadQuery) -> Reading:
        """A file open for reading; what is no file, or too large, fails here.

        Raises `Failure`: not_found, forbidden, bad_request, too_large.
        """
        check_read(query)
        try:
            try:
                return self._open(query, _native.Stop(), at_once=True)
            except BlockingIOError:
                return await self._lane.look(partial(self._open, query, at_once=False))
        except (OSError, ValueError) as error:
            raise _failure(error, query, self._limit) from error

    async def next(self, pieces: _Pieces) -> bytes | None:
        """The next piece, by a thread. Raises `Failure`."""
        try:
            return await self._lane.look(pieces.next) or None
        except (OSError, ValueError) as error:
            raise _failure(error, pieces.query, self._limit) from error

    def _open(self, query: ReadQuery, stop: _native.Stop, *, at_once: bool) -> Reading:
        pieces = _Pieces(query, self._limit, at_once=at_once)
        if at_once and pieces.size > _SMALLEST:
            raise BlockingIOError
        # In a thread a size of 0 may be that of a file in /proc, with who knows what in it.
        is_small = at_once or 0 < pieces.size <= _SMALL
        return Reading(pieces, pieces.all(stop) if is_small else None, self)


def _failure(error: OSError | ValueError, query: ReadQuery, limit: int) -> Failure:
    path = display(query.path)
    if isinstance(error, ValueError):
        return Failure(
            "bad_request",
            f"not text, it {error}: {path}; give encoding=base64, or GET /files/raw",
        )
    if error.errno == errno.EISDIR:
        return Failure("bad_request", f"is a directory: {path}; GET /files lists it")
    if error.errno != errno.EFBIG:
        return from_os_error(error, path=query.path)
    what, less = (
        ("these lines are", "fewer lines") if query.is_range else ("is", "a range of lines")
    )
    return Failure(
        "too_large",
        f"{path}: {what} over the limit of {limit} bytes; "
        f"ask for {less} (start_line, end_line), or GET /files/raw",
    )


def _head(query: ReadQuery) -> ContentHead:
    name = query.path[query.path.rindex(b"/") + 1 :]
    extension = _native.extension(name)
    return ContentHead(
        path=display(query.path),
        path_b64=encode_b64(query.path) or UNSET,
        extension=UNSET if extension is None else display(extension),
        encoding="base64" if query.is_base64 else UNSET,
    )


def _tail(query: ReadQuery, native: _native.Reading) -> ContentTail:
    size, lines, lossy, sha256 = native.facts()
    tail = ContentTail(size=size, lines=lines, lossy=True if lossy else UNSET, hash=sha256 or UNSET)
    if not query.is_range:
        return tail
    start = query.start_line or 1
    last = start + lines - 1 if query.end_line is None else query.end_line
    return ContentTail(size=size, lines=lines, start_line=start, end_line=last, lossy=tail.lossy)

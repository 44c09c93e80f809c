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
_AT_ONCE: Final = 256 * 1024
_WIDTH: Final = 16


class Reading:
    """A file being read: a `Source` of batches. `length` is the answer's, where it is known."""

    def __init__(self, query: ReadQuery, limits: Limits, lane: Lane, stop: _native.Stop) -> None:
        self._query = query
        self._lane = lane
        self._limit = limits.content_bytes
        self._native: _native.Reading | None = _open(query, self._limit)
        descriptor = self._native.fileno()
        stat = os.fstat(descriptor)
        self.version = None if _native.is_made_on_reading(descriptor) else Version.of(stat)
        self._begun = False
        self._ready: bytes | None = None
        # A size of 0 may be that of a file in /proc, with who knows what in it.
        if 0 < stat.st_size <= _AT_ONCE:
            self._ready = b"".join(iter(partial(self._next, stop), b""))

    @property
    def length(self) -> int | None:
        """The bytes of the answer, where all of it is ready."""
        return None if self._ready is None else len(self._ready)

    async def pull(self) -> bytes | None:
        """The next batch, None at the end. The first one is there once the file was looked
        through. Raises `Failure` where it cannot be read as asked, or has become shorter.
        """
        if self._ready is not None:
            ready, self._ready, self._native = self._ready, None, None
            return ready
        try:
            return await self._lane.run_stoppable(self._next) or None
        except (OSError, ValueError) as error:
            raise _failure(error, self._query, self._limit) from error

    def stop(self) -> None:
        """Closes the file."""
        self._ready = self._native = None

    def _next(self, stop: _native.Stop) -> bytes:
        native = self._native
        if native is None:
            return b""
        batch = b""
        if not self._begun:
            self._begun = True
            native.scan(stop)
            batch = before_content(_head(self._query))
        batch += native.next(BATCH_BYTES)
        if native.is_finished():
            batch += after_content(_tail(self._query, native))
            self._native = None
        return batch


class Reads:
    """The service that reads files as text."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lane = Lane(_WIDTH)

    async def open(self, query: ReadQuery) -> Reading:
        """A file open for reading; what is no file, or too large, fails here.

        Raises `Failure`: not_found, forbidden, bad_request, too_large.
        """
        check_read(query)
        try:
            return await self._lane.run_stoppable(partial(Reading, query, self._limits, self._lane))
        except (OSError, ValueError) as error:
            raise _failure(error, query, self._limits.content_bytes) from error


def _open(query: ReadQuery, limit: int) -> _native.Reading:
    return _native.Reading(
        query.path,
        first=query.start_line,
        last=query.end_line,
        form=query.form,
        limit=limit,
    )


def _failure(error: OSError | ValueError, query: ReadQuery, limit: int) -> Failure:
    path = display(query.path)
    if isinstance(error, ValueError):
        return Failure(
            "bad_request",
            f"not text, it {error}: {path}; give encoding=base64, or GET /files/raw",
        )
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

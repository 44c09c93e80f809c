"""Writing files: whole, appended to, or streamed.

Belongs here: the order of locating, locking, checking and writing. Banned here: HTTP, and the
system calls (`hutch-core` makes them).
Source: wire contract, section 2, "Write" and "Raw".
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import trio
from msgspec import UNSET

from hutch import _native
from hutch._native import Pending, Place, Stop, Writer
from hutch.runtime.lanes import Lane, Lanes
from hutch.runtime.preconditions import Locks, check, demand
from hutch.wire.change import Condition, parse_mode
from hutch.wire.config import Limits
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.etag import etag_from
from hutch.wire.paths import display, path_fields
from hutch.wire.write import UploadQuery, WriteBody, Written, decode_content

T = TypeVar("T")

# Each waits for a disk, not for a core.
_WIDTH: Final = 16
# What is put together before a thread is asked to write it: a hop costs 100 microseconds.
_PIECE: Final = 512 * 1024

Pull = Callable[[], Awaitable[bytes | None]]


class Writes:
    """The service that writes files."""

    def __init__(self, limits: Limits, pending: Pending, locks: Locks) -> None:
        self._limits = limits
        self._pending = pending
        self._locks = locks
        self._lanes = Lanes(_WIDTH)

    async def write(self, asked: WriteBody, condition: Condition) -> Written:
        """Writes or appends content that is there as a whole.

        Raises `Failure`: bad_request, forbidden, not_found (a missing parent), too_large,
        precondition_failed, insufficient_storage. Nothing is changed then.
        """
        lane, limit = self._lanes.of(asked.path), self._limits.content_bytes
        mode = parse_mode(asked.mode)
        content = await lane.run(partial(decode_content, asked, limit=limit))
        change = await self._locate(asked, mode, condition)
        work = change.append if asked.append else change.replace
        async with self._locks.hold(change.place):
            return await self._run(change, partial(work, content))

    async def upload(self, asked: UploadQuery, condition: Condition, pull: Pull) -> Written:
        """Writes what `pull` hands over, in constant memory.

        The condition is looked at before the first byte is taken, and counts when the last one
        is there. Whatever ends the stream early leaves the old file, and no other.
        Raises `Failure` as `write` does, and what `pull` raises.
        """
        change = await self._locate(asked, parse_mode(asked.mode), condition)
        writer = await self._run(change, change.begin)
        try:
            await self._take(change, writer, pull)
            async with self._locks.hold(change.place):
                return await self._run(change, partial(change.commit, writer))
        finally:
            # To give back gigabytes takes a while; it is done whoever goes away.
            with trio.CancelScope(shield=True):
                await change.lane.run(writer.abort)

    async def _take(self, change: _Change, writer: Writer, pull: Pull) -> None:
        ended = False
        while not ended:
            parts: list[bytes] = []
            room = _PIECE
            while room > 0 and not ended:
                chunk = await pull()
                ended = chunk is None
                parts.append(chunk or b"")
                room -= len(parts[-1])
            await self._run(change, partial(_write, writer, b"".join(parts)))

    async def _run(self, change: _Change, work: Callable[[Stop], T]) -> T:
        try:
            return await change.lane.run_stoppable(work)
        except OSError as error:
            # The error's own path may be that of the slots: another disk may be the full one.
            raise from_os_error(error, path=error.filename or change.path) from error

    async def _locate(
        self, asked: WriteBody | UploadQuery, mode: int | None, condition: Condition
    ) -> _Change:
        lane = self._lanes.of(asked.path)
        work = partial(_locate, asked.path, condition, create_dirs=asked.create_dirs)
        try:
            place = await lane.run(work)
        except OSError as error:
            raise from_os_error(error, path=asked.path) from error
        return _Change(asked.path, place, mode, condition, self._pending, lane)


@dataclass(frozen=True, slots=True)
class _Change:
    """One change to one file. Its methods block; `replace`, `append`, `commit` want the lock."""

    path: bytes
    place: Place
    mode: int | None
    condition: Condition
    pending: Pending
    lane: Lane

    def begin(self, stop: Stop) -> Writer:
        self._check(stop)
        return Writer(self.place, self.pending)

    def replace(self, content: bytes, stop: Stop) -> Written:
        self._check(stop)
        with self._writing(content) as writer:
            return self._settle(writer, stop)

    @contextmanager
    def _writing(self, content: bytes) -> Iterator[Writer]:
        writer = Writer(self.place, self.pending)
        try:
            writer.write(content)
            yield writer
        finally:
            # Not when the last reference goes: an error's traceback has one, and a full disk
            # would be full still for who was just told so.
            writer.abort()

    def commit(self, writer: Writer, stop: Stop) -> Written:
        self._check(stop)
        return self._settle(writer, stop)

    def append(self, content: bytes, stop: Stop) -> Written:
        self._check(stop)
        while (appended := _native.append(self.place, content, mode=self.mode)) is None:
            # No file yet: one appears, whole. A command may make it first; then append after all.
            with self._writing(content) as writer, suppress(FileExistsError):
                appended = writer.commit(stop, mode=self.mode, only_new=True)
                break
        return _answer(self.path, appended)

    def _check(self, stop: Stop) -> None:
        check(self.condition, self.place, self.path, stop)

    def _settle(self, writer: Writer, stop: Stop) -> Written:
        only_new = self.condition.is_new_only
        try:
            written = writer.commit(stop, mode=self.mode, only_new=only_new)
        except FileExistsError:
            # A command made it since the check.
            self._check(stop)
            raise
        return _answer(self.path, written)


def _write(writer: Writer, data: bytes, _stop: Stop) -> None:
    writer.write(data)


def _locate(path: bytes, condition: Condition, *, create_dirs: bool) -> Place:
    try:
        return _native.locate(path, follow=True)
    except FileNotFoundError:
        # Before any directory is made: a refused change changes nothing.
        demand(condition, None, path)
        parent = posixpath.dirname(path)
        if not create_dirs:
            raise _no_parent(parent, "create_dirs makes it") from None
    _native.make_dirs(parent, mode=0o755)
    try:
        return _native.locate(path, follow=True)
    except FileNotFoundError:
        raise _no_parent(path, "it is a symlink into a directory that is not there") from None


def _no_parent(path: bytes, advice: str) -> Failure:
    return Failure("not_found", f"no such directory: {display(path)}; {advice}")


def _answer(path: bytes, written: _native.Written) -> Written:
    return Written(
        size=written.size,
        etag=etag_from(written.status).decode("ascii"),
        hash=UNSET if written.sha256 is None else written.sha256,
        atomic=UNSET if written.atomic else False,
        **path_fields(path),
    )

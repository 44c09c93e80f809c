"""What a content search is to search, and what went wrong on the way.

Belongs here: batches of words for ripgrep's command line, from the extension's walk or for one
file; errors and warnings, up to a bound. Banned here: running anything (`search`), which names
are seen (the extension decides). Source: wire contract, section 3.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Final

import trio

from hutch import _native
from hutch.runtime.lanes import Lane
from hutch.wire import search as wire
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.search import ContentQuery

# `./a: Permission denied (os error 13)`; some versions put `rg: ` or more words in between.
_COMPLAINT: Final = re.compile(
    rb"(?:rg: )?(?:\./)?(?P<path>.+?): (?:.*: )?(?P<words>[^:]+) \(os error (?P<errno>\d+)\)"
)
_NO_SUCH_FILE: Final = b"2"


class Targets:
    """What is to be searched: batches of words, from the walk or one file; and what went wrong."""

    def __init__(self, base: bytes) -> None:
        self.base = base
        self.is_over = self.is_file = self.is_cut = False
        self.errors: list[dict[str, object]] = []
        self.warnings: list[dict[str, object]] = []

    def take(self) -> bytes | None:
        """A batch; None where none is ready, or `is_over`. Raises `Failure`."""
        raise NotImplementedError

    def fileno(self) -> int:
        """What becomes readable once a batch is ready."""
        raise NotImplementedError

    def directory(self) -> int:
        """The descriptor of the directory that paths are relative to, once there was a batch."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends it."""
        raise NotImplementedError

    def absolute(self, path: bytes) -> bytes:
        """The path that a process was given, as the client would spell it."""
        return os.path.join(self.base, path.removeprefix(b"./"))  # noqa: PTH118  # bytes

    def note(self, said: bytes, *, is_cut: bool) -> None:
        """Notes what a process said on its standard error; `is_cut`: it said more."""
        self.is_cut |= is_cut
        for line in filter(None, said.split(b"\n")):
            match = _COMPLAINT.fullmatch(line)
            if match is None:
                self.tell("error", self.base, line.decode("utf-8", "replace"))
            elif match["errno"] != _NO_SUCH_FILE:
                words = match["words"].decode("ascii", "replace").lower()
                self.tell("error", self.absolute(match["path"]), words)

    def tell(self, kind: str, path: bytes, words: str) -> None:
        """Notes an error or a warning, up to the bound."""
        into = self.errors if kind == "error" else self.warnings
        if len(into) >= wire.MOST_TOLD:
            self.is_cut = True
        else:
            into.append(wire.told(path, "error" if kind == "error" else "message", words))


class _Tree(Targets):
    """A directory, as the walk hands it over."""

    def __init__(self, query: ContentQuery) -> None:
        super().__init__(query.path)
        self._first: bytes | None = None
        self._walk: _native.Walk | None = _native.targets(
            query.path,
            file_types=query.file_types,
            include_hidden=query.include_hidden,
            use_gitignore=not query.no_gitignore,
            ignore_patterns=[one.encode() for one in query.ignore_patterns],
        )

    async def begin(self) -> None:
        """Waits until it is known whether there is a directory. Raises OSError, `Failure`."""
        while (batch := self._try_next()) is None:
            await trio.lowlevel.wait_readable(self.fileno())
        self._first = batch

    def take(self) -> bytes | None:
        while (batch := self._next()) is not None:
            if not batch:
                self.is_over = True
                return None
            if not batch.startswith(b"\0"):
                return batch
            path, _, words = batch[2:].partition(b"\0")
            kind = "error" if batch[1:2] == b"E" else "warning"
            self.tell(kind, path, words.decode("utf-8", "replace"))
        return None

    def _next(self) -> bytes | None:
        first, self._first = self._first, None
        return self._try_next() if first is None else first

    def _try_next(self) -> bytes | None:
        try:
            batch = self._under_way().try_next()
        except ValueError as error:
            raise Failure("bad_request", f"ignore_patterns: {error}") from error
        return None if batch is None else bytes(batch)

    def fileno(self) -> int:
        return self._under_way().fileno()

    def directory(self) -> int:
        directory = self._under_way().directory()
        if directory is None:
            raise AssertionError("asked before there was a batch")
        return directory

    def _under_way(self) -> _native.Walk:
        if self._walk is None:
            raise AssertionError("asked after it was stopped")
        return self._walk

    def stop(self) -> None:
        walk, self._walk = self._walk, None
        if walk is not None:
            # Before the descriptor closes, or epoll would wait for a number that is reused.
            trio.lowlevel.notify_closing(walk.fileno())
            walk.stop()


class _File(Targets):
    """One file: who names it wants it, whatever the rules say of it."""

    def __init__(self, path: bytes, directory: int) -> None:
        base, _, name = path.rpartition(b"/")
        super().__init__(base or b"/")
        self.is_file = True
        self._batch: bytes | None = b"./" + name + b"\0\0"
        self._directory = directory

    def take(self) -> bytes | None:
        batch, self._batch = self._batch, None
        self.is_over = batch is None
        return batch

    def fileno(self) -> int:
        raise AssertionError("it is always ready")

    def directory(self) -> int:
        return self._directory

    def stop(self) -> None:
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


async def open_targets(query: ContentQuery, lane: Lane) -> Targets:
    """What a query wants searched, once it is known to be there.

    Raises `Failure`: not_found, forbidden, bad_request (a glob; neither file nor directory).
    """
    tree = _Tree(query)
    try:
        await tree.begin()
    except BaseException as error:
        tree.stop()
        if isinstance(error, NotADirectoryError):
            return await _open_file(query.path, lane)
        if isinstance(error, OSError):
            raise from_os_error(error, path=query.path) from error
        raise
    return tree


async def _open_file(path: bytes, lane: Lane) -> _File:
    try:
        return _File(path, await lane.look(partial(_parent_of, path)))
    except OSError as error:
        raise from_os_error(error, path=path) from error


def _parent_of(path: bytes, _stop: _native.Stop) -> int:
    """The open directory of a regular file that can be read. Raises OSError."""
    os.close(_native.open_regular(path, at_once=False))
    parent = path.rpartition(b"/")[0] or b"/"
    return os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

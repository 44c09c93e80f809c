"""Content search: a query in, batches of a finished answer out.

Belongs here: which processes run, what they are handed, how what they print becomes an answer,
and how they end. Banned here: looking into what they print (the extension does), how a process
is started (`ripgrep`). Source: wire contract, section 3.

The walk hands over what a listing shows, in batches; as many ripgreps as there are cores search
a batch each. Everything happens in `pull`, in the task of whoever asks: no process is read while
the client does not take, and none outlives the `async with`.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from msgspec import UNSET

from hutch import _native
from hutch.runtime import ripgrep
from hutch.runtime.lanes import Lane
from hutch.runtime.ripgrep import Ripgrep, Ripgreps
from hutch.runtime.targets import Targets, open_targets
from hutch.wire import search as wire
from hutch.wire.config import Limits
from hutch.wire.errors import Failure
from hutch.wire.search import SearchQuery, SearchStreamQuery, Summary

_PIPE_BYTES: Final = 256 * 1024
_PIECE_BYTES: Final = 256 * 1024
_SAID_BYTES: Final = 64 * 1024
_MOST_PROCESSES: Final = 8
# Twice what it takes to find one file among those of the largest batch.
_MOST_DEATHS: Final = 64
# Paths on one command line then: few enough for any.
_MOST_AGAIN: Final = 400
_NOTHING: Final = b"/dev/null"
_END_SECONDS: Final = 2.0
_LANE: Final = 8

# ripgrep could not read all, or not even begin.
_FAILED: Final = 2


@dataclass(frozen=True)
class _Work:
    """What one process searches. `reader` is that of the process that died over it, if any."""

    paths: list[bytes]
    globs: list[bytes]
    reader: _native.MatchReader | None = None
    is_file: bool = False


@dataclass(eq=False)
class _Child:
    """One ripgrep, and what it said on its standard error."""

    process: trio.Process
    work: _Work
    reader: _native.MatchReader
    open: set[int] = field(default_factory=set)
    said: bytearray = field(default_factory=bytearray)
    is_silent: bool = True
    is_cut: bool = False

    def streams(self) -> tuple[Any, Any]:
        return self.process.stdout, self.process.stderr


class Search:
    """A search under way: a `Source` of batches, closed by `Searches.open`."""

    def __init__(
        self,
        query: SearchQuery | SearchStreamQuery,
        limits: Limits,
        program: Ripgrep,
        targets: Targets,
        deadline: float,
    ) -> None:
        self._query = query
        self._limits = limits
        self._is_stream = isinstance(query, SearchStreamQuery)
        self._where: list[str | bytes] = [program.path, *ripgrep.where(query)]
        self._words = [*self._where, *ripgrep.what(query)]
        self._targets = targets
        self._matches = _native.Matches(
            stream=self._is_stream,
            max_results=query.max_results,
            context_lines=query.context_lines,
            most_bytes=limits.search_answer_bytes,
        )
        self._width = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
        self._children: dict[int, _Child] = {}
        self._running: list[_Child] = []
        self._started = self._deaths = 0
        # What processes died over, and the parts of it that are to be searched next.
        self._again: deque[_Work] = deque()
        self._parts: deque[_Work] = deque()
        self._ready: deque[bytes] = deque()
        self._is_begun = self._is_over = self._is_stopped = False
        self._began = trio.current_time()
        self._deadline = deadline
        self._poll = select.epoll()

    async def pull(self) -> bytes | None:
        """The next batch, None at the end.

        Raises `Failure`: bad_request (the expression, a glob), not_found, timeout, bad_gateway
        where ripgrep fails.
        """
        while not self._ready:
            if self._is_over:
                return None
            with trio.move_on_at(self._deadline):
                await self._step()
                continue
            raise _late(self._query)
        return self._ready.popleft()

    async def _step(self) -> None:
        """One round; whoever cancels it loses nothing."""
        for child in [one for one in self._running if not one.open]:
            self._settle(child, await child.process.wait())
        await self._start_again()
        await self._start_more()
        if self._running or not self._targets.is_over:
            await trio.lowlevel.wait_readable(self._poll.fileno())
            for number, _ in self._poll.poll(0):
                self._heed(number)
        lines = self._matches.take_lines()
        if lines:
            self._begin()
            self._ready.append(lines)
        is_left = self._running or self._again or self._parts or not self._targets.is_over
        if self._matches.is_capped() or not is_left:
            for child in self._running:
                ripgrep.kill(child.process)
            self._finish()

    async def _start_more(self) -> None:
        while len(self._running) < self._width and not self._targets.is_over:
            batch = self._targets.take()
            if batch is not None:
                paths, _, globs = batch.partition(b"\0\0")
                words = list(filter(None, globs.split(b"\0")))
                await self._start(_Work(paths.split(b"\0"), words, is_file=self._targets.is_file))
            elif not self._targets.is_over:
                self._await_targets()
                return
        if self._targets.is_over and self._started == 0:
            # Nothing to search; a broken expression is told all the same.
            await self._start(_Work([_NOTHING], [], is_file=True))

    async def _start_again(self) -> None:
        """Searches in smaller parts where a process died, until it is known over which file."""
        while len(self._running) < self._width and (self._parts or self._again):
            if not self._parts:
                self._parts.extend(await self._split(self._again[0]))
                self._again.popleft()
            else:
                await self._start(self._parts.popleft())

    async def _split(self, work: _Work) -> list[_Work]:
        if len(work.paths) == 1 and not work.is_file:
            work = _Work(await self._files_in(work), [], work.reader, is_file=True)
        size = max(1, min(len(work.paths) // 2, _MOST_AGAIN))
        every = range(0, len(work.paths), size)
        parts = (work.paths[at : at + size] for at in every)
        return [_Work(one, work.globs, work.reader, is_file=work.is_file) for one in parts]

    async def _files_in(self, work: _Work) -> list[bytes]:
        words = [*self._where, *_globs(work.globs), "--files", "--null", "--", *work.paths]
        return await ripgrep.files(words, directory=self._targets.directory())

    async def _start(self, work: _Work) -> None:
        words = [*self._words, *_globs(work.globs), "--"]
        # Shielded: a batch that was taken must be searched.
        with trio.CancelScope(shield=True):
            process = await ripgrep.start(
                [*words, *work.paths],
                directory=self._targets.directory(),
                memory_bytes=self._limits.search_memory_bytes,
            )
        self._started += 1
        if work.reader is None:
            reader = self._matches.reader(self._targets.directory())
        else:
            reader = work.reader.again()
        child = _Child(process, work, reader)
        self._running.append(child)
        for stream in child.streams():
            number = stream.fileno()
            _widen(number)
            child.open.add(number)
            self._children[number] = child
            self._poll.register(number, select.EPOLLIN)

    def _await_targets(self) -> None:
        """Once: nobody looks at batches while enough processes run."""
        number = self._targets.fileno()
        try:
            self._poll.register(number, select.EPOLLIN | select.EPOLLONESHOT)
        except FileExistsError:
            self._poll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)

    def _heed(self, number: int) -> None:
        child = self._children.get(number)
        if child is None:
            return
        piece = os.read(number, _PIECE_BYTES)
        if not piece:
            self._poll.unregister(number)
            del self._children[number]
            child.open.remove(number)
        elif number == child.streams()[1].fileno():
            room = _SAID_BYTES - len(child.said)
            child.said += piece[:room]
            child.is_cut |= len(piece) > room
        else:
            child.is_silent = False
            self._feed(child, piece)

    def _feed(self, child: _Child, piece: bytes) -> None:
        try:
            child.reader.feed(piece)
        except ValueError as error:
            raise Failure("bad_gateway", f"ripgrep printed what is no message: {error}") from error

    def _settle(self, child: _Child, code: int) -> None:
        """Takes leave of a process that has ended, and hears how it went."""
        self._running.remove(child)
        for stream in child.streams():
            stream.close()
        if self._matches.is_capped():
            return
        if code in {0, 1, _FAILED} and child.reader.is_complete():
            self._targets.note(bytes(child.said), is_cut=child.is_cut)
            return
        self._deaths += code < 0
        is_all = self._targets.is_file or child.work.paths == [_NOTHING]
        if code >= 0 or is_all or self._deaths > _MOST_DEATHS:
            raise self._failure(child, code)
        if child.work.is_file and len(child.work.paths) == 1:
            path = self._targets.absolute(child.work.paths[0])
            self._targets.tell("error", path, f"ripgrep was ended by signal {-code} over it")
        else:
            work = child.work
            self._again.append(_Work(work.paths, work.globs, child.reader, is_file=work.is_file))

    def _failure(self, child: _Child, code: int) -> Failure:
        said = child.said.decode("utf-8", "replace").strip()
        if code < 0:
            return Failure("bad_gateway", f"ripgrep was ended by signal {-code}: {said[:500]}")
        if code == _FAILED and child.is_silent and self._query.regex:
            return Failure("bad_request", f"q: {said}")
        return Failure("bad_gateway", f"ripgrep failed with {code}: {said[:500]}")

    def _begin(self) -> None:
        if self._is_stream and not self._is_begun:
            self._is_begun = True
            self._ready.append(wire.start_line(self._query, self._targets.base))

    def _summary(self) -> Summary:
        lines, files = self._matches.counts()
        why = self._matches.capped_by()
        return Summary(
            total_matches=lines,
            total_files=files,
            capped=why is not None,
            capped_by=UNSET if why is None else why,
            errors_truncated=self._targets.is_cut or UNSET,
        )

    def _finish(self) -> None:
        self._is_over = True
        self._begin()
        errors, warnings = self._targets.errors, self._targets.warnings
        if self._is_stream:
            for event, told in (("error", errors), ("warning", warnings)):
                self._ready.extend(wire.event_line(event, one) for one in told)
            elapsed = round((trio.current_time() - self._began) * 1000)
            self._ready.append(wire.done_line(self._summary(), elapsed_ms=elapsed))
            return
        self._ready.append(wire.before_results(self._query, self._targets.base))
        self._ready.extend(self._matches.finish(_PIECE_BYTES))
        self._ready.append(wire.after_results(self._summary(), errors, warnings))

    def stop(self) -> None:
        """Ends every process and the walk, at once; may be called more than once."""
        if self._is_stopped:
            return
        self._is_stopped = self._is_over = True
        self._ready.clear()
        trio.lowlevel.notify_closing(self._poll.fileno())
        self._poll.close()
        for child in self._running:
            ripgrep.kill(child.process)
        self._targets.stop()

    async def close(self) -> list[trio.Process]:
        """Stops, and reaps every process; gives those that even a SIGKILL has not ended."""
        self.stop()
        left = []
        with trio.CancelScope(shield=True):
            for child in self._running:
                with trio.move_on_after(_END_SECONDS):
                    await child.process.wait()
                if child.process.returncode is None:
                    left.append(child.process)
                for stream in child.streams():
                    stream.close()
        # By hand: what an exception's traceback still refers to holds descriptors.
        self._running.clear()
        self._children.clear()
        return left


class Searches:
    """The service that searches in files."""

    def __init__(self, limits: Limits, ripgreps: Ripgreps) -> None:
        self._limits = limits
        self._ripgreps = ripgreps
        self._lane = Lane(_LANE)
        self._under_way = 0
        # What a hung mount keeps alive beyond SIGKILL; looked at with each search.
        self._left: list[trio.Process] = []

    def uses(self) -> dict[str, float]:
        """How much of its bounds is in use, by the names of `Limits`."""
        return {"searches": self._under_way}

    @asynccontextmanager
    async def open(self, query: SearchQuery | SearchStreamQuery) -> AsyncIterator[Search]:
        """A search under way; none of its processes is left afterwards.

        Raises `Failure`: bad_request, not_found, forbidden, rate_limited, unavailable without a
        ripgrep, bad_gateway where it does not work.
        """
        wire.check_search(query)
        self._left = [one for one in self._left if one.poll() is None]
        if self._under_way >= self._limits.searches:
            raise Failure("rate_limited", f"{self._under_way} searches are under way; try again")
        self._under_way += 1
        try:
            program = await self._ripgreps.find()
            deadline = trio.current_time() + (query.timeout or float("inf"))
            with trio.move_on_at(deadline) as looking:
                targets = await open_targets(query, self._lane)
            if looking.cancelled_caught:
                raise _late(query)
            search = Search(query, self._limits, program, targets, deadline)
            try:
                yield search
            finally:
                self._left += await search.close()
        finally:
            self._under_way -= 1


def _globs(globs: list[bytes]) -> Iterator[bytes]:
    return (b"--glob=" + one for one in globs)


def _late(query: SearchQuery | SearchStreamQuery) -> Failure:
    return Failure(
        "timeout", f"the search took longer than {query.timeout} s; narrow it, or give timeout"
    )


def _widen(pipe: int) -> None:
    """A larger pipe, so that a process is woken less often; the system's limit may refuse."""
    with suppress(PermissionError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

"""The pipe to a command's standard input.

Belongs here: writing with an idle deadline, in the order in which it was asked for. Banned
here: where the bytes come from.
"""

from __future__ import annotations

import os

import trio

from hutch.wire.errors import Failure

_PIECE = 64 * 1024


class Stdin:
    """The writing end, owned. Where `has_first`, others wait until `write_first` is done."""

    def __init__(self, descriptor: int, *, has_first: bool) -> None:
        self._descriptor = descriptor
        self._lock = trio.Lock()
        self._first_done = trio.Event()
        self._taken = 0
        self.is_closed = False
        if not has_first:
            self._first_done.set()

    async def write_first(self, data: bytes, *, eof: bool) -> None:
        """Writes what was given at the start, however long the command takes to read it.

        Raises `Failure` (conflict) where it does not want all of it.
        """
        try:
            await self._write(data, float("inf"))
            if eof:
                self.close()
        finally:
            self._first_done.set()

    async def write(self, data: bytes, *, idle_seconds: float, eof: bool = False) -> int:
        """Writes all of it, then closes if `eof`; how many bytes.

        Raises `Failure`, with the true `bytes_written` in it: timeout where the command takes
        nothing for `idle_seconds`, conflict where it closed its end, or has ended.
        """
        await self._wait_turn(idle_seconds)
        try:
            done = await self._write(data, idle_seconds)
            if eof:
                self.close()
        finally:
            self._lock.release()
        return done

    async def _wait_turn(self, idle_seconds: float) -> None:
        """Acquires the lock. While those in front get on, there is no hurry."""
        while True:
            before = self._taken
            with trio.move_on_after(idle_seconds):
                await self._first_done.wait()
                await self._lock.acquire()
                return
            if self._taken == before:
                raise _stalled(idle_seconds, 0)

    async def _write(self, data: bytes, idle_seconds: float) -> int:
        done, rest = 0, memoryview(data)
        while rest:
            try:
                count = self._write_some(rest)
                if count is None:
                    await self._writable(idle_seconds, done)
                    continue
            except (BrokenPipeError, trio.ClosedResourceError):
                raise Failure(
                    "conflict",
                    f"the command takes no more input; {done} bytes were written",
                    extra={"bytes_written": done},
                ) from None
            done += count
            self._taken += count
            rest = rest[count:]
            await trio.lowlevel.checkpoint()
        return done

    def _write_some(self, rest: memoryview) -> int | None:
        if self.is_closed:
            raise trio.ClosedResourceError
        try:
            return os.write(self._descriptor, rest[:_PIECE])
        except BlockingIOError:
            return None

    async def _writable(self, idle_seconds: float, done: int) -> None:
        with trio.move_on_after(idle_seconds) as scope:
            await trio.lowlevel.wait_writable(self._descriptor)
        if scope.cancelled_caught:
            raise _stalled(idle_seconds, done)

    def close(self) -> None:
        """Closes it; whoever writes is told. May be called more than once."""
        if not self.is_closed:
            self.is_closed = True
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)


def _stalled(idle_seconds: float, done: int) -> Failure:
    return Failure(
        "timeout",
        f"the command took no input for {idle_seconds:g} s; {done} bytes were written",
        extra={"bytes_written": done},
    )

"""What was typed into a terminal and has not been read by it yet.

Belongs here: writing in the order in which it came, for as long as it takes. Banned here: who
typed it, what is done where it is full.

Writing to a terminal whose program does not read stops after some kilobytes. The rest waits here,
so that nobody waits with it: not the connection that brought it, nor the other terminals' input
on that connection. A message is taken whole or not at all.
"""

from __future__ import annotations

import os
from typing import Final

import trio

# Written at a time: a terminal takes some kilobytes.
_PIECE: Final = 64 * 1024


class Keyboard:
    """Input on its way. `descriptor` is the terminal's, and its owner closes it."""

    def __init__(self, descriptor: int, most: int) -> None:
        self._descriptor = descriptor
        self._most = most
        # In one piece: a message for itself would cost more than the bytes that are counted.
        self._waiting = bytearray()
        self._typed = trio.Event()
        self._taken = trio.lowlevel.ParkingLot()
        self._is_stalled = False
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """How many bytes have not been taken."""
        return len(self._waiting)

    async def until_room(self, size: int, seconds: float) -> bool:
        """Waits until a message of `size` bytes fits; whether it came to that in time.

        One always fits where nothing waits, however large it is. Where somebody has waited in vain
        and nothing was taken since, nobody waits again: a flood of messages would add up.
        """
        if not self._is_stalled:
            with trio.move_on_after(seconds) as patience:
                while not self._fits(size):
                    await self._taken.park()
            self._is_stalled = patience.cancelled_caught
        return self._fits(size)

    def _fits(self, size: int) -> bool:
        return self.waiting == 0 or self.waiting + size <= self._most

    def type(self, data: bytes) -> None:
        """Writes what the terminal takes at once; the rest waits for `feed`."""
        if self._is_closed:
            return
        taken = 0 if self._waiting else self._write(data)
        if taken < len(data):
            self._waiting += memoryview(data)[taken:]
            self._typed.set()

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            # Nobody is at the other end: it goes where it would have gone.
            return len(data)

    async def feed(self) -> None:
        """Writes what waits, as it is taken; returns once it is closed."""
        while not self._is_closed:
            if not self._waiting:
                self._typed = trio.Event()
                await self._typed.wait()
                continue
            try:
                await trio.lowlevel.wait_writable(self._descriptor)
            except trio.ClosedResourceError:
                return
            self._feed_some()

    def _feed_some(self) -> None:
        if self._is_closed or not self._waiting:
            return
        count = self._write(self._waiting[:_PIECE])
        del self._waiting[:count]
        self._is_stalled &= count == 0
        self._taken.unpark_all()

    def close(self) -> None:
        """Drops what waits, once the program has ended."""
        self._is_closed = True
        self._waiting.clear()
        self._typed.set()
        self._taken.unpark_all()

"""What a terminal wrote: the ring, and as much before it as somebody is still to be sent.

Belongs here: bytes by their offset since the start. Banned here: who reads them, when.

The last `size` bytes are kept always. A cursor that stands further back keeps what follows it;
whoever moves cursors sees to it that none falls behind by more than is to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Freed at most this often: moving what is kept costs as much as that is long.
_SLACK: Final = 64 * 1024


class Scrollback:
    """Bytes `start` to `total` of everything that was written."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.start = 0
        self._kept = bytearray()

    @property
    def total(self) -> int:
        """How many bytes were ever written."""
        return self.start + len(self._kept)

    @property
    def ring(self) -> int:
        """The offset of the first byte of the ring: the last `size` bytes."""
        return max(self.total - self.size, 0)

    def append(self, data: bytes) -> None:
        """Adds bytes at the end."""
        self._kept += data

    def trim(self, cursors: Iterable[int]) -> None:
        """Lets go of what is in front of the ring and of every cursor."""
        needless = min(self.ring, *cursors, self.total) - self.start
        if needless > _SLACK or (needless > 0 and needless >= self.size):
            del self._kept[:needless]
            self.start += needless

    def read(self, offset: int, most: int) -> bytearray:
        """At most `most` bytes from `offset`, which must be kept."""
        begin = offset - self.start
        return self._kept[begin : begin + most]

    def tail(self, most: int | None) -> bytes:
        """The last `most` bytes of the ring, all of it where None."""
        begin = self.ring if most is None else max(self.total - most, self.ring)
        return bytes(self._kept[begin - self.start :])

"""The numbers of terminals: one byte each, reused as late as possible.

Belongs here: giving and taking back. Banned here: what has a number.

A client that has not heard of a session's end may still write to its number. Such input is
refused, and told of, until the number is given again; and that happens only after every other
free number was, some 230 sessions later.
Source: wire contract, section 5.
"""

from __future__ import annotations

from collections import deque

from hutch.wire.terminals import LAST_ID


class Ids:
    """Free numbers, the one that has been free for longest first."""

    def __init__(self) -> None:
        self._free = deque(range(1, LAST_ID + 1))

    def take(self) -> int | None:
        """A free number; None where all are in use."""
        return self._free.popleft() if self._free else None

    def give_back(self, number: int) -> None:
        """The number is free again."""
        self._free.append(number)

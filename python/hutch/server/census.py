"""How many connections there are, and which give way when there are too many.

Belongs here: counting, and shedding. Banned here: what a connection does. A connection is a
stranger until a request on it was let through (the application sets
`scope["state"]["authenticated"]`); strangers are bounded apart, so that they can neither use up
the descriptors nor keep those out who hold a token: the oldest stranger gives way to the next.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from hutch.server.transport import Transport

# Each may hold a request head of 256 KiB that is not complete: 128 MiB together.
MOST_STRANGERS: Final = 512


class Census:
    """The open connections of a server: at most `most`, at most half of them strangers."""

    def __init__(self, most: int, most_strangers: int = MOST_STRANGERS) -> None:
        self.most = most
        self.most_strangers = max(1, min(most_strangers, (most + 1) // 2))
        self._strangers: OrderedDict[Transport, None] = OrderedDict()
        self._known: set[Transport] = set()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    @property
    def strangers(self) -> int:
        """How many of them nobody knows yet."""
        return len(self._strangers)

    def admit(self, newcomer: Transport) -> bool:
        """Counts a new connection; the oldest stranger may be closed for it. False: full."""
        full = len(self) >= self.most or len(self._strangers) >= self.most_strangers
        if full and not self.shed():
            return False
        self._strangers[newcomer] = None
        return True

    def shed(self) -> bool:
        """Closes the oldest stranger, if there is one."""
        if not self._strangers:
            return False
        oldest, _ = self._strangers.popitem(last=False)
        oldest.reset()
        return True

    def let_through(self, transport: Transport) -> None:
        """A request on this connection was authenticated: no stranger any more."""
        if transport in self._strangers:
            del self._strangers[transport]
            self._known.add(transport)

    def leave(self, transport: Transport) -> None:
        """The connection is closed."""
        self._strangers.pop(transport, None)
        self._known.discard(transport)

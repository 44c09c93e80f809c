"""Who hears the events of watchers, and who is owed the word that some were missed.

Belongs here: handing finished frames to listeners, and that debt. Banned here: what is in a frame,
waiting: a listener that is full says so, and is not waited for.
Source: wire contract, sections 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Hear = Callable[[bytes], bool]


@dataclass(eq=False, slots=True)
class _Listener:
    hear: Hear
    # Watchers of which it has missed an event.
    owed: set[str] = field(default_factory=set)


class Listeners:
    """All listeners. `overflow` makes the frame that a listener is owed for a watcher; None where
    the watcher is no longer there."""

    def __init__(self, overflow: Callable[[str], bytes | None]) -> None:
        self._all: set[_Listener] = set()
        self._overflow = overflow

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def listening(self, hear: Hear) -> Iterator[None]:
        """`hear` is given each frame on the event loop. It must not block; False means that it
        has no room, and has not taken the frame.
        """
        listener = _Listener(hear)
        self._all.add(listener)
        try:
            yield
        finally:
            self._all.discard(listener)

    def tell(self, watcher_id: str, frame: bytes) -> None:
        """Gives everybody a frame of a watcher."""
        for listener in tuple(self._all):
            if not (self._settle(listener) and listener.hear(frame)):
                listener.owed.add(watcher_id)

    def owe(self, watcher_id: str) -> None:
        """Everybody has missed events of a watcher."""
        for listener in self._all:
            listener.owed.add(watcher_id)

    def pay(self) -> None:
        """Tries to tell everybody what they are owed."""
        for listener in tuple(self._all):
            self._settle(listener)

    def _settle(self, listener: _Listener) -> bool:
        """Whether nothing is owed any more."""
        for watcher_id in tuple(listener.owed):
            frame = self._overflow(watcher_id)
            if frame is not None and not listener.hear(frame):
                return False
            listener.owed.discard(watcher_id)
        return True

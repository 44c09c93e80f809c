"""Who hears the events of watchers, each at its own pace.

Belongs here: a cursor into each watcher's log for each listener. A listener that is full is asked
again a little later, and misses nothing until the log itself no longer holds what comes next; then
it is told so. Banned here: what is in a frame, waiting.
Source: wire contract, sections 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

Hear = Callable[[bytes], bool]

# Frames between two turns of the event loop, of one watcher for one listener and of all for all:
# the sockets write meanwhile, and others are answered.
_AT_ONCE: Final = 64
_A_TURN: Final = 512


class Log(Protocol):
    """What a watcher has to tell. Its events are numbered; `first` is the number before them."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def first(self) -> int: ...  # noqa: D102
    @property
    def is_active(self) -> bool: ...  # noqa: D102

    def seq(self) -> int:
        """The number of the last event."""

    def frames(self, seq: int, most: int) -> tuple[bool, int, list[bytes]]:
        """Frames after the event `seq`: whether some are lost, where to go on, and they."""

    def ready(self, seq: int) -> bytes:
        """The frame that tells that the watcher is there."""

    def overflow(self, seq: int) -> bytes:
        """The frame that tells that events up to `seq` are lost."""


@dataclass(eq=False, slots=True)
class _Listener:
    hear: Hear
    # By watcher: the last event that it has heard.
    heard: dict[str, int] = field(default_factory=dict)
    is_full: bool = False
    # Of which watcher it was given least: the next turn begins there.
    turn: int = 0

    def tell_all(self, logs: list[Log], most: int) -> bool:
        """Gives what comes next of each, as far as there is room; whether there may be more."""
        self.is_full = False
        has_more = False
        begin = self.turn % max(len(logs), 1)
        for number, log in enumerate(logs[begin:] + logs[:begin], begin + 1):
            has_more |= self.tell(log, most)
            if self.is_full:
                # Another one is first next time: a flood fills whatever room there is.
                self.turn = number
                break
        return has_more

    def tell(self, log: Log, most: int) -> bool:
        """Gives what comes next of one watcher, so many frames; whether there may be more."""
        if log.id not in self.heard:
            if not self._give(log.ready(log.first)):
                return False
            self.heard[log.id] = log.first
        seq = self.heard[log.id]
        lost, end, frames = log.frames(seq, most)
        seq = end - len(frames)
        if lost and not self._give(log.overflow(seq)):
            return False
        self.heard[log.id] = seq
        for frame in frames:
            if not self._give(frame):
                return False
            self.heard[log.id] += 1
        return len(frames) == most

    def _give(self, frame: bytes) -> bool:
        self.is_full = not self.hear(frame)
        return not self.is_full


class Listeners:
    """All listeners."""

    def __init__(self) -> None:
        self._all: set[_Listener] = set()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def is_waiting(self) -> bool:
        """Whether somebody was full and is to be asked again."""
        return any(one.is_full for one in self._all)

    @contextmanager
    def listening(self, hear: Hear, known: Iterable[Log]) -> Iterator[list[bytes]]:
        """Gives the frames `ready` of those `known`, where they tell of changes.

        `hear` is given each frame from there on, on the event loop. It must not block; False means
        that it has no room, and has not taken the frame.
        """
        # Asked once: an event that comes meanwhile is after what both say.
        heard = [(log, log.seq()) for log in known]
        listener = _Listener(hear, {log.id: seq for log, seq in heard})
        ready = [log.ready(seq) for log, seq in heard if log.is_active]
        self._all.add(listener)
        try:
            yield ready
        finally:
            self._all.discard(listener)

    def tell(self, logs: Iterable[Log]) -> bool:
        """Gives everybody what comes next; whether there may be more to give at once."""
        logs = list(logs)
        most = min(_A_TURN // max(len(self._all) * len(logs), 1) + 1, _AT_ONCE)
        has_more = False
        for listener in tuple(self._all):
            has_more |= listener.tell_all(logs, most)
        return has_more

    def forget(self, watcher_id: str) -> None:
        """The watcher is no longer there."""
        for listener in self._all:
            listener.heard.pop(watcher_id, None)

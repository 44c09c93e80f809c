"""One watcher: the engine's, what is known of it, and its words for listeners.

Belongs here: its facts, its frames, whether it is ready, why there is none. Banned here: other
watchers, who listens.
Source: wire contract, section 6.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Final

import trio
from msgspec import structs

from hutch import _native
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.watchers import WatcherFacts, overflow_frame, ready_frame, root_fields


@dataclass(eq=False, slots=True)
class Watching:
    """A watcher. `first` is the number before its first event."""

    id: str
    root: bytes
    excludes: list[str]
    use_gitignore: bool
    native: _native.Watcher
    first: int
    settled: trio.Event = field(default_factory=trio.Event)
    failure: Exception | None = None
    moved: trio.Event = field(default_factory=trio.Event)
    is_forgotten: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether its tree was read."""
        return self.settled.is_set() and self.failure is None

    @property
    def is_active(self) -> bool:
        """Whether it tells of changes."""
        return self.is_ready and self.native.status().is_active

    def facts(self) -> WatcherFacts:
        """The watcher as answers have it."""
        status = self.native.status()
        reason = {} if status.incomplete is None else {"incomplete_reason": status.incomplete}
        return WatcherFacts(
            id=self.id,
            dirs=status.dirs,
            dir_count=status.dirs,
            excludes=self.excludes,
            use_gitignore=self.use_gitignore,
            active=status.is_active,
            incomplete=status.incomplete is not None,
            seq=self.native.seq(),
            **root_fields(self.root),
            **reason,
        )

    def seq(self) -> int:
        """The number of the last event."""
        return self.native.seq()

    def frames(self, seq: int, most: int) -> tuple[bool, int, list[bytes]]:
        """What listeners are told after the event `seq`."""
        return self.native.frames(seq, most)

    def ready(self, seq: int) -> bytes:
        """The frame that it is there, and has told what is up to `seq`."""
        return ready_frame(structs.replace(self.facts(), seq=seq))

    def overflow(self, seq: int) -> bytes:
        """The frame that events up to `seq` are lost."""
        return overflow_frame(self.id, seq)

    def wake(self) -> None:
        """Whoever waits for a change looks again."""
        self.moved.set()
        self.moved = trio.Event()

    def settle(self) -> None:
        """Sees whether it has become ready, or has failed."""
        try:
            is_settled = self.native.status().is_ready
        except (OSError, ValueError, RuntimeError) as error:
            self.failure = error
            is_settled = True
        if is_settled:
            self.settled.set()


_NO_WATCH: Final = {
    errno.EMFILE: "there are too many inotify instances, or open files",
    errno.ENFILE: "the machine has too many open files",
    errno.ENOMEM: "the machine is out of memory",
    errno.ENOSPC: "the limit of watched directories is reached (fs.inotify.max_user_watches, or "
    "--watch-directories); delete a watcher, or raise it",
    errno.EAGAIN: "no thread can be had, or too many earlier watchers hang on a file system that "
    "does not answer",
}


def failure_of(error: Exception, root: bytes) -> Failure:
    """Why there is no watcher."""
    if isinstance(error, ValueError):
        return Failure("bad_request", f"excludes: {error}")
    if isinstance(error, OSError) and error.errno not in _NO_WATCH:
        return from_os_error(error, path=root)
    # 500, as the reference has it where a watcher cannot be made.
    number = error.errno if isinstance(error, OSError) else None
    why = _NO_WATCH.get(number or 0, "an unexpected error")
    return Failure("internal", f"the directory cannot be watched: {why}")

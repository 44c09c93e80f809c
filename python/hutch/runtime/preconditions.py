"""Conditions on which files are changed, and the locks under which they hold.

Belongs here: comparing a condition with a file's bytes of now, and one lock a file against
other callers of this API. Commands run by the client are outside it. Banned here: changing
files, and parsing (`wire.change`).
Source: wire contract, section 2, "Write": hash the bytes afresh, a lock per file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from hutch._native import FileState, Place, Stop
from hutch.wire.change import Condition
from hutch.wire.errors import Failure
from hutch.wire.etag import etag_from
from hutch.wire.paths import display


@dataclass(slots=True)
class _Held:
    lock: trio.Lock = field(default_factory=trio.Lock)
    users: int = 0


class Locks:
    """One lock a file, by the key of its place; a lock that nobody uses is forgotten."""

    def __init__(self) -> None:
        self._held: dict[bytes, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    @asynccontextmanager
    async def hold(self, *places: Place) -> AsyncIterator[None]:
        """Holds the locks of all `places`, taken in one order by everybody."""
        keys = sorted({place.key for place in places})
        for key in keys:
            self._held.setdefault(key, _Held()).users += 1
        taken: list[trio.Lock] = []
        try:
            for key in keys:
                lock = self._held[key].lock
                await lock.acquire()
                taken.append(lock)
            yield
        finally:
            for lock in taken:
                lock.release()
            for key in keys:
                self._let_go(key)

    def _let_go(self, key: bytes) -> None:
        held = self._held[key]
        held.users -= 1
        if held.users == 0:
            del self._held[key]


def check(condition: Condition, place: Place, path: bytes, stop: Stop) -> None:
    """Holds a condition against what stands at `place` now. Blocks while it hashes.

    Raises `Failure` (precondition_failed) with the current `hash`, OSError, InterruptedError.
    """
    if not condition.is_empty:
        demand(condition, place.state(stop), path)


def demand(condition: Condition, state: FileState | None, path: bytes) -> None:
    """Raises `Failure` (precondition_failed) where a file in `state` does not satisfy it.

    The failure carries the current `hash`: null where there is no file, or none with bytes.
    """
    refused = condition.refusal(_tags(state))
    if refused is None:
        return
    current = None if state is None else state.sha256
    why = "there is no such file" if state is None else "it is another by now"
    if refused == "If-None-Match":
        why = "the file is there already"
    raise Failure(
        "precondition_failed",
        f"{refused}: {why}; nothing was changed: {display(path)}",
        extra={"hash": current},
        headers=() if state is None else ((b"etag", etag_from(state.status)),),
    )


def _tags(state: FileState | None) -> frozenset[bytes]:
    if state is None:
        return frozenset()
    tags = {etag_from(state.status).strip(b'"')}
    if state.sha256 is not None:
        tags.add(state.sha256.encode())
    return frozenset(tags)

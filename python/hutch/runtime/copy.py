"""Copying and moving files and trees.

Belongs here: the order of locating, locking, checking and doing, and what an account means.
Banned here: HTTP, and the copying itself (`hutch-core` does it).
Source: wire contract, section 2, in the voice of "Write" and "Delete".
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import UNSET

from hutch import _native
from hutch._native import Guard, Pending, Place, Stop
from hutch.runtime.lanes import Lanes
from hutch.runtime.preconditions import Locks, check
from hutch.runtime.protection import (
    code_of,
    demand_free,
    demand_unmounted,
    first_error,
    protected_paths,
    told_errors,
)
from hutch.wire.change import Condition
from hutch.wire.config import Limits
from hutch.wire.copy import Copied, CopyBody, EndFields, MoveBody, Moved, Skipped, end_fields
from hutch.wire.errors import Code, Failure, from_os_error
from hutch.wire.paths import display, path_fields

T = TypeVar("T")

# Each waits for a disk, not for a core.
_WIDTH: Final = 4

_CLASHES: Final[Mapping[str, tuple[Code, str]]] = {
    "same": ("bad_request", "source and destination are the same file"),
    "inside": ("bad_request", "the destination lies in the source"),
    "around": ("conflict", "the source lies in the destination"),
    "exists": ("conflict", "exists already; overwrite=true replaces it"),
    "kinds": ("conflict", "a directory does not replace what is none, nor the other way round"),
    "not_empty": ("conflict", "a directory that is not empty is not replaced"),
}


@dataclass(frozen=True, slots=True)
class _Change:
    """One copy or move. Its methods block; `run` wants the locks of both places."""

    source: Place
    destination: Place
    guard: Guard
    pending: Pending
    asked: CopyBody
    condition: Condition
    seconds: float

    def run(self, stop: Stop) -> _native.Copied:
        source, destination = self.asked.ends
        condition = self.condition
        if isinstance(self.asked, MoveBody):
            demand_free(source, self.guard.refuses(self.source), what="moved")
        _check_source(self.asked, condition, self.source, stop)
        new = Condition(none_match=condition.none_match)
        check(new, self.destination, destination, stop)
        work = _native.relocate if isinstance(self.asked, MoveBody) else _native.copy
        account = work(
            self.source,
            self.destination,
            self.guard,
            self.pending,
            stop,
            overwrite=self.asked.overwrite and not condition.is_new_only,
            seconds=self.seconds,
        )
        if account.clash == "exists":
            # A command made it since the check.
            check(new, self.destination, destination, stop)
        return account


class Copies:
    """The service that copies and moves."""

    def __init__(self, limits: Limits, state_dir: Path, pending: Pending, locks: Locks) -> None:
        self._seconds = limits.copy_seconds
        self._protected = protected_paths(state_dir)
        self._pending = pending
        self._locks = locks
        self._lanes = Lanes(_WIDTH)

    async def copy(self, asked: CopyBody, condition: Condition) -> Copied:
        """Copies a file, a link as a link, or a directory with all below it.

        Cancelled, it stops at its next entry: what is copied stays.
        Raises `Failure`: bad_request (into itself, no file), forbidden (protected), not_found,
        precondition_failed, conflict (something is there), each with nothing copied; forbidden,
        conflict, timeout or insufficient_storage with `errors` and `copied` where it stopped
        half-way.
        """
        account = await self._change(asked, condition)
        source, _ = asked.ends
        if not account.entries and account.left:
            raise Failure("bad_request", f"not a file, nor a directory: {display(source)}")
        if account.cut is not None or account.failures:
            raise _half_way(source, account, done="copied")
        return Copied(
            copied=account.entries,
            bytes=account.size,
            skipped=_skipped(account),
            skipped_truncated=True if account.left_out > len(account.left) else UNSET,
            **_ends(asked),
        )

    async def move(self, asked: MoveBody, condition: Condition) -> Moved:
        """Moves a file, a link, or a directory with all below it.

        Cancelled, it stops at its next entry: what is copied stays, and so does the source.
        Raises `Failure`, as `copy` does; conflict for mount points too, and where something had
        to stay behind.
        """
        account = await self._change(asked, condition)
        source, _ = asked.ends
        if account.cut is not None or account.failures or account.left_out:
            raise _half_way(source, account, done="moved")
        if account.renamed:
            return Moved(**_ends(asked))
        return Moved(atomic=False, copied=account.entries, bytes=account.size, **_ends(asked))

    async def _change(self, asked: CopyBody, condition: Condition) -> _native.Copied:
        done = "moved" if isinstance(asked, MoveBody) else "copied"
        _, destination = asked.ends
        change = await self._run(asked, partial(self._locate, asked, condition, done))
        async with self._locks.hold(change.source, change.destination):
            account = await self._run(asked, change.run)
        demand_free(destination, account.protected, what=done)
        demand_unmounted(account.mounts, what=done)
        if account.clash is not None:
            code, why = _CLASHES[account.clash]
            raise Failure(code, f"{why}; nothing was {done}: {display(destination)}")
        return account

    async def _run(self, asked: CopyBody, work: Callable[[Stop], T]) -> T:
        source, _ = asked.ends
        try:
            return await self._lanes.of(*asked.ends).run_stoppable(work)
        except OSError as error:
            raise from_os_error(error, path=error.filename or source) from error

    def _locate(self, asked: CopyBody, condition: Condition, done: str, stop: Stop) -> _Change:
        source, destination = asked.ends
        guard = Guard(self._protected)
        demand_free(destination, guard.refuses_path(destination), what=done)
        if isinstance(asked, MoveBody):
            demand_free(source, guard.refuses_path(source), what=done)
        place = _native.locate(source, follow=False)
        try:
            there = _native.locate(destination, follow=False)
        except FileNotFoundError:
            # Before any directory is made: a refused change changes nothing.
            _check_source(asked, condition, place, stop)
            there = _make_room(asked)
        return _Change(place, there, guard, self._pending, asked, condition, self._seconds)


def _make_room(asked: CopyBody) -> Place:
    """The destination in a parent that is made, if that was asked for."""
    source, destination = asked.ends
    top = os.lstat(source)
    parent = posixpath.dirname(destination)
    if _lies_in(parent, top):
        code, why = _CLASHES["inside"]
        raise Failure(code, f"{why}; nothing was done: {display(destination)}")
    if not asked.create_dirs:
        raise Failure("not_found", f"no such directory: {display(parent)}; create_dirs makes it")
    _native.make_dirs(parent, mode=0o755)
    return _native.locate(destination, follow=False)


def _check_source(asked: CopyBody, condition: Condition, place: Place, stop: Stop) -> None:
    source, _ = asked.ends
    kept = Condition(match=condition.match, expected_hash=condition.expected_hash)
    check(kept, place, source, stop)


def _lies_in(path: bytes, top: os.stat_result) -> bool:
    """Whether what is there of `path`, links followed, is, or lies in, what `top` tells of."""
    at = os.path.realpath(path)
    while True:
        with suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(at), top):
                return True
        if at == b"/":
            return False
        at = posixpath.dirname(at)


def _ends(asked: CopyBody) -> EndFields:
    return end_fields(*asked.ends)


def _skipped(account: _native.Copied) -> list[Skipped]:
    return [Skipped(reason=why, **path_fields(path)) for path, why in account.left]


def _half_way(path: bytes, account: _native.Copied, *, done: str) -> Failure:
    skipped = _skipped(account)
    extra: dict[str, Any] = {
        "copied": account.entries,
        "bytes": account.size,
        "removed": account.removed,
        "skipped": skipped,
        **told_errors(account.errors, account.failures),
    }
    if account.left_out > len(skipped):
        extra["skipped_truncated"] = True
    code = code_of(account.errors, account.cut)
    why = first_error(account.errors)
    if not account.errors and skipped:
        why = f"not a file: {skipped[0].path}"
    state = f"not {done}"
    if account.removed:
        state = f"all is copied, and {account.removed} entries were removed here, not all"
    elif account.entries:
        state = f"{account.entries} entries were copied, and nothing was removed here"
        state = state if done == "moved" else f"{account.entries} entries were copied, not all"
    elif not account.failures and done == "moved":
        code = "bad_request"
    return Failure(code, f"{display(path)}: {state}: {why}", extra=extra)

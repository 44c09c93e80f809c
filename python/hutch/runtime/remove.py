"""Removing files and trees, and refusing to.

Belongs here: what is protected, and what a removal's account means. Banned here: HTTP, and the
removal itself (`hutch-core` does it).
Source: wire contract, section 2, "Delete".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from hutch import _native
from hutch._native import Guard, Place, Removal, Stop
from hutch.runtime.lanes import Lanes
from hutch.runtime.preconditions import Locks, check
from hutch.wire.change import Condition
from hutch.wire.config import Limits
from hutch.wire.errors import Code, Failure, from_os_error
from hutch.wire.paths import display, path_fields
from hutch.wire.remove import PROTECTED, Removed, RemoveRequest

T = TypeVar("T")

_WIDTH: Final = 4
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Removals:
    """The service that removes."""

    def __init__(self, limits: Limits, state_dir: Path, locks: Locks) -> None:
        self._seconds = limits.delete_seconds
        # Without it the server forgets its token and what it owes to files half written.
        self._protected = [*PROTECTED, os.path.abspath(os.fsencode(state_dir))]  # noqa: PTH100
        self._locks = locks
        self._lanes = Lanes(_WIDTH)

    async def remove(self, asked: RemoveRequest, condition: Condition) -> Removed:
        """Removes the file, the link, or the directory with all below it.

        Cancelled, it stops at its next entry: what is gone is gone.
        Raises `Failure`: forbidden (protected), not_found, precondition_failed, conflict
        (mounts), each with nothing removed; forbidden, conflict or timeout with `errors`,
        `removed` and `remaining` where it stopped half-way.
        """
        guard = await self._lanes.of(asked.path).run(partial(Guard, self._protected))
        _demand_free(asked.path, guard.refuses_path(asked.path))
        place = await self._run(asked.path, lambda _: _native.locate(asked.path, follow=False))
        async with self._locks.hold(place):
            account = await self._run(
                asked.path, partial(self._remove, place, guard, asked.path, condition)
            )
        return _answer(asked.path, account)

    def _remove(
        self, place: Place, guard: Guard, path: bytes, condition: Condition, stop: Stop
    ) -> Removal:
        _demand_free(path, guard.refuses(place))
        check(condition, place, path, stop)
        return _native.remove(place, guard, stop, seconds=self._seconds)

    async def _run(self, path: bytes, work: Callable[[Stop], T]) -> T:
        try:
            return await self._lanes.of(path).run_stoppable(work)
        except OSError as error:
            raise from_os_error(error, path=path) from error


def _demand_free(path: bytes, protected: bytes | None) -> None:
    if protected is None:
        return
    what = "is" if protected == path else f"is, or holds, {display(protected)}, which is"
    raise Failure("forbidden", f"{display(path)} {what} protected; nothing was removed")


def _answer(path: bytes, account: Removal) -> Removed:
    _demand_free(path, account.protected)
    if account.mounts:
        raise Failure(
            "conflict",
            f"a mount point is in the way: {display(account.mounts[0])}; unmount it first; "
            "nothing was removed",
            extra={"mounts": [path_fields(one) for one in account.mounts]},
        )
    if account.cut is not None or account.failures:
        raise _half_way(path, account)
    return Removed(removed=account.removed, **path_fields(path))


def _half_way(path: bytes, account: Removal) -> Failure:
    errors = [_error(where, number) for where, number in account.errors]
    extra: dict[str, Any] = {
        "removed": account.removed,
        "errors": errors,
        "remaining": [path_fields(one) for one in account.remaining],
    }
    if account.failures > len(errors):
        extra["errors_truncated"] = True
    if account.remaining_cut:
        extra["remaining_truncated"] = True
    why = errors[0]["error"] if errors else "the time is up"
    removed = (
        f"{account.removed} entries were removed, not all" if account.removed else "not removed"
    )
    return Failure(_code(account), f"{display(path)}: {removed}: {why}", extra=extra)


def _code(account: Removal) -> Code:
    if account.cut == "late":
        return "timeout"
    numbers = {number for _, number in account.errors}
    return "forbidden" if numbers and numbers <= _FORBIDDEN else "conflict"


def _error(path: bytes, number: int) -> dict[str, object]:
    return {**path_fields(path), "error": from_os_error(OSError(number, ""), path=path).message}

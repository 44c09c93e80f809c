"""Removing files and trees, and refusing to.

Belongs here: what a removal's account means. Banned here: HTTP, and the removal itself
(`hutch-core` does it).
Source: wire contract, section 2, "Delete".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from hutch import _native
from hutch._native import Guard, Place, Removal, Stop
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
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.paths import display, path_fields
from hutch.wire.remove import Removed, RemoveRequest

T = TypeVar("T")

_WIDTH: Final = 4


class Removals:
    """The service that removes."""

    def __init__(self, limits: Limits, state_dir: Path, locks: Locks) -> None:
        self._seconds = limits.delete_seconds
        self._protected = protected_paths(state_dir)
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
        demand_free(asked.path, guard.refuses_path(asked.path), what="removed")
        place = await self._run(asked.path, lambda _: _native.locate(asked.path, follow=False))
        async with self._locks.hold(place):
            account = await self._run(
                asked.path, partial(self._remove, place, guard, asked.path, condition)
            )
        return _answer(asked.path, account)

    def _remove(
        self, place: Place, guard: Guard, path: bytes, condition: Condition, stop: Stop
    ) -> Removal:
        demand_free(path, guard.refuses(place), what="removed")
        check(condition, place, path, stop)
        return _native.remove(place, guard, stop, seconds=self._seconds)

    async def _run(self, path: bytes, work: Callable[[Stop], T]) -> T:
        try:
            return await self._lanes.of(path).run_stoppable(work)
        except OSError as error:
            raise from_os_error(error, path=path) from error


def _answer(path: bytes, account: Removal) -> Removed:
    demand_free(path, account.protected, what="removed")
    demand_unmounted(account.mounts, what="removed")
    if account.cut is not None or account.failures:
        raise _half_way(path, account)
    return Removed(removed=account.removed, **path_fields(path))


def _half_way(path: bytes, account: Removal) -> Failure:
    extra: dict[str, Any] = {
        "removed": account.removed,
        "remaining": [path_fields(one) for one in account.remaining],
        **told_errors(account.errors, account.failures),
    }
    if account.remaining_cut:
        extra["remaining_truncated"] = True
    why = first_error(account.errors)
    removed = (
        f"{account.removed} entries were removed, not all" if account.removed else "not removed"
    )
    return Failure(
        code_of(account.errors, account.cut), f"{display(path)}: {removed}: {why}", extra=extra
    )

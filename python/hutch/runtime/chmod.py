"""Setting permission bits.

Belongs here: the order of locating, locking, checking and changing, and what the account means.
Banned here: HTTP, and the change itself (`hutch-core` makes it).
Source: wire contract, section 2, in the voice of "Write" and "Delete".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from hutch import _native
from hutch._native import Guard, Place, Stop
from hutch.runtime.lanes import Lanes
from hutch.runtime.preconditions import Locks, check
from hutch.runtime.protection import (
    code_of,
    demand_free,
    first_error,
    protected_paths,
    told_errors,
)
from hutch.wire.change import Condition
from hutch.wire.chmod import Changed, ChmodBody
from hutch.wire.config import Limits
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.paths import display, path_fields

T = TypeVar("T")

_WIDTH: Final = 4


@dataclass(frozen=True, slots=True)
class _Change:
    """One change. `run` blocks, and wants the lock."""

    asked: ChmodBody
    condition: Condition
    place: Place
    guard: Guard
    seconds: float

    def run(self, stop: Stop) -> _native.Changed:
        demand_free(self.asked.path, self.guard.refuses(self.place), what="changed")
        check(self.condition, self.place, self.asked.path, stop)
        return _native.chmod(
            self.place,
            self.guard,
            stop,
            mode=self.asked.bits,
            directories=self.asked.directory_bits,
            recursive=self.asked.recursive,
            seconds=self.seconds,
        )


class Chmods:
    """The service that sets permission bits."""

    def __init__(self, limits: Limits, state_dir: Path, locks: Locks) -> None:
        self._seconds = limits.copy_seconds
        self._protected = protected_paths(state_dir)
        self._locks = locks
        self._lanes = Lanes(_WIDTH)

    async def chmod(self, asked: ChmodBody, condition: Condition) -> Changed:
        """Sets the mode of what the path leads to, and with `recursive` of all below it.

        Cancelled, it stops at its next entry: what is changed stays.
        Raises `Failure`: bad_request, forbidden (protected), not_found, precondition_failed, each
        with nothing changed; forbidden, conflict or timeout with `errors` and `changed` where it
        stopped half-way.
        """
        # Complete before anything is looked at.
        _ = (asked.bits, asked.directory_bits)
        guard = await self._lanes.of(asked.path).run(partial(Guard, self._protected))
        demand_free(asked.path, guard.refuses_path(asked.path), what="changed")
        # As in writing: of a link, what it leads to.
        place = await self._run(asked.path, lambda _: _native.locate(asked.path, follow=True))
        async with self._locks.hold(place):
            change = _Change(asked, condition, place, guard, self._seconds)
            account = await self._run(asked.path, change.run)
        return _answer(asked, account)

    async def _run(self, path: bytes, work: Callable[[Stop], T]) -> T:
        try:
            return await self._lanes.of(path).run_stoppable(work)
        except OSError as error:
            raise from_os_error(error, path=path) from error


def _answer(asked: ChmodBody, account: _native.Changed) -> Changed:
    path = asked.path
    demand_free(path, account.protected, what="changed")
    if account.cut is None and not account.failures:
        return Changed(mode=f"{asked.bits:04o}", changed=account.changed, **path_fields(path))
    extra = {"changed": account.changed, **told_errors(account.errors, account.failures)}
    state = f"{account.changed} entries were changed, not all" if account.changed else "not changed"
    raise Failure(
        code_of(account.errors, account.cut),
        f"{display(path)}: {state}: {first_error(account.errors)}",
        extra=extra,
    )

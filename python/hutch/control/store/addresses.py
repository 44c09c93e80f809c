"""Addresses by number: each has one owner, and rests when it is released.

Source: wire contract, section 10: "An address is not given out again within ten minutes".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from hutch.control.store.tables import ADDRESSES
from hutch.wire.errors import Failure

# Busy ones are skipped: something else on the machine listens there.
_MOST_TRIED: Final = 256


def take(
    connection: Connection,
    workspace_id: str,
    *,
    most: int,
    now: int,
    rested_before: int,
    is_free: Callable[[int], bool],
) -> int:
    """A number from 1 to `most` for a workspace: a new one, else the one that rested longest.

    Raises `Failure` (unavailable) where there is none.
    """
    for number, is_new in islice(_candidates(connection, most, rested_before), _MOST_TRIED):
        free = is_free(number)
        owner = {
            "workspace_id": workspace_id if free else None,
            "released_at": None if free else now,
        }
        if is_new:
            connection.execute(insert(ADDRESSES).values(number=number, **owner))
        else:
            connection.execute(
                update(ADDRESSES).where(ADDRESSES.c.number == number).values(**owner)
            )
        if free:
            return number
    raise Failure("unavailable", "no address is free; try again later, or give a larger --network")


def _candidates(
    connection: Connection, most: int, rested_before: int
) -> Iterator[tuple[int, bool]]:
    used = connection.execute(select(func.max(ADDRESSES.c.number))).scalar_one() or 0
    yield from ((number, True) for number in range(used + 1, most + 1))
    rested = (
        select(ADDRESSES.c.number)
        .where(ADDRESSES.c.workspace_id.is_(None))
        .where(ADDRESSES.c.released_at <= rested_before)
        .where(ADDRESSES.c.number <= most)
        .order_by(ADDRESSES.c.released_at, ADDRESSES.c.number)
    )
    yield from ((number, False) for number in connection.execute(rested).scalars().all())


def release(connection: Connection, workspace_id: str, now: int) -> None:
    """Lets a workspace's address rest from now on."""
    connection.execute(
        update(ADDRESSES)
        .where(ADDRESSES.c.workspace_id == workspace_id)
        .values(workspace_id=None, released_at=now)
    )

"""What changed, in order, for gateways.

Belongs here: numbering and telling. A number is known if it stands in the table: numbers begin
anew at the clock's microseconds with each start, so that one which a lost, newer store gave is not
taken for one of an older store that was put in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from hutch.control.store.tables import CHANGES, META

_MOST_TOLD: Final = 1000
# Old ones are dropped so many at a time: a delete a change would cost as much as the change.
_DROP_EVERY: Final = 1000


@dataclass(frozen=True, slots=True)
class Changes:
    """What came after a number; `workspaces` None where that is not known any more."""

    seq: int
    workspaces: list[str] | None


def note(connection: Connection, workspace_id: str, *, keep: int) -> None:
    """Tells of a workspace, in the transaction that changes it; the last `keep` are remembered."""
    seq = _last(connection) + 1
    _append(connection, seq, workspace_id)
    if seq % _DROP_EVERY == 0:
        oldest = select(CHANGES.c.seq).order_by(CHANGES.c.seq.desc()).offset(keep).limit(1)
        edge = connection.execute(oldest).scalar_one_or_none()
        if edge is not None:
            connection.execute(delete(CHANGES).where(CHANGES.c.seq <= edge))


def begin(connection: Connection, now: int) -> None:
    """Marks a start."""
    _append(connection, max(now, _last(connection) + 1), None)


def since(connection: Connection, seq: int) -> Changes:
    """What came after `seq`."""
    last = _last(connection)
    known = select(func.count()).select_from(CHANGES).where(CHANGES.c.seq == seq)
    if not connection.execute(known).scalar_one():
        return Changes(last, None)
    later = (
        select(CHANGES.c.seq, CHANGES.c.workspace_id)
        .where(CHANGES.c.seq > seq)
        .order_by(CHANGES.c.seq)
        .limit(_MOST_TOLD)
    )
    rows = connection.execute(later).all()
    told = dict.fromkeys(row.workspace_id for row in rows if row.workspace_id is not None)
    return Changes(rows[-1].seq if rows else seq, list(told))


def _last(connection: Connection) -> int:
    return int(connection.execute(select(META.c.seq)).scalar_one())


def _append(connection: Connection, seq: int, workspace_id: str | None) -> None:
    connection.execute(update(META).values(seq=seq))
    connection.execute(insert(CHANGES).values(seq=seq, workspace_id=workspace_id))

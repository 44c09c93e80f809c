"""Every bound of the runtime, and how much of it is in use now.

Belongs here: bringing together `Limits`, what services say of themselves, and what is built in.
Banned here: counting (who holds a thing counts it, in its own `uses`), HTTP.
Source: design, section 4, "Bounds".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from hutch import _native
from hutch.server.figures import RequestFigures
from hutch.wire.config import Limits
from hutch.wire.limits import Bound, configured


class Bounded(Protocol):
    """A service that holds things of which there may be so many."""

    def uses(self) -> Mapping[str, float]:
        """How much is in use now, by the names of `Limits`."""
        ...


def bounds(
    limits: Limits, services: Iterable[Bounded], figures: RequestFigures
) -> dict[str, Bound]:
    """Every bound by its name: first those that can be set, then those that are built in."""
    uses: dict[str, float] = {}
    for one in services:
        uses |= one.uses()
    uses |= figures.uses()
    return configured(limits, uses) | _connections(figures) | _kept()


def _connections(figures: RequestFigures) -> dict[str, Bound]:
    census = figures.census
    if census is None:
        return {}
    return {
        "connections": Bound(
            limit=census.most,
            unit="count",
            used=len(census),
            text="most connections, by the descriptors that the process may have",
        ),
        "strangers": Bound(
            limit=census.most_strangers,
            unit="count",
            used=census.strangers,
            text="most connections on which nobody has shown the token yet",
        ),
    }


def _kept() -> dict[str, Bound]:
    kept = _native.kept()
    return {
        "digests": Bound(
            limit=kept.most_digests,
            unit="count",
            used=kept.digests,
            text="digests of files that are remembered",
        ),
        "rules_bytes": Bound(
            limit=kept.most_rules,
            unit="bytes",
            used=kept.rules,
            text="compiled ignore rules that are remembered",
        ),
        "index_bytes": Bound(
            limit=kept.most_rules,
            unit="bytes",
            used=kept.indexes,
            text="indexes of repositories that are remembered",
        ),
        "buffer_bytes": Bound(
            limit=kept.most_buffered,
            unit="bytes",
            used=kept.buffered,
            text="listings and answers that wait for their clients, all together",
        ),
    }

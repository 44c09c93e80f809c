"""Bounds on the wire: what each is, and how much of it is in use.

Belongs here: `Bound` and the answer of `GET /limits`. Banned here: finding out what is in use.
Source: design, section 4, "Bounds".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from hutch.wire.config import LimitField, Limits, limit_fields

Unit = Literal["bytes", "seconds", "count"]


class Bound(Struct, frozen=True, kw_only=True):
    """One bound. `used` is null where it bounds each of many things, or a time.

    `option` and `variable` set it; both are absent where it is built in.
    """

    limit: float
    unit: Unit
    used: float | None
    text: str
    option: str | UnsetType = UNSET
    variable: str | UnsetType = UNSET


class LimitsAnswer(Struct, frozen=True, kw_only=True):
    """The answer of `GET /limits`: every bound by its name."""

    limits: dict[str, Bound]
    success: Literal[True] = True


def configured(limits: Limits, uses: Mapping[str, float]) -> dict[str, Bound]:
    """Every field of `Limits`, in its order, with what `uses` says is in use of it."""
    return {
        one.name: Bound(
            limit=getattr(limits, one.name),
            unit=_unit(one),
            used=uses.get(one.name),
            text=one.text,
            option=one.option,
            variable=one.variable,
        )
        for one in limit_fields(type(limits))
    }


def _unit(one: LimitField) -> Unit:
    for unit in ("bytes", "seconds"):
        if one.name.endswith(f"_{unit}"):
            return unit
    return "count"

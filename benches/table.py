"""What a row came to, and the table it stands in.

Belongs here: the record of one row, its verdict, Markdown and JSON. Banned here: measuring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Unit = Literal["x", "ms", "MiB"]

HEADINGS = ("row", "what", "promise", "measured", "verdict", "ours", "beside it", "notes")


@dataclass(frozen=True)
class Promise:
    """A bound on one figure: at most `bound`, or at least where `at_least`."""

    bound: float
    unit: Unit
    against: str = ""
    at_least: bool = False

    def kept_by(self, measured: float) -> bool:
        """Whether a measured figure is within the bound."""
        return measured >= self.bound if self.at_least else measured <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {figure(self.bound, self.unit)} {self.against}".strip()


@dataclass(frozen=True)
class Outcome:
    """One row: what was promised, what was measured, and what was beside it."""

    row: str
    what: str
    promise: Promise | None = None
    measured: float | None = None
    spread: tuple[float, float] | None = None
    ours: str = ""
    # Name of a floor or rival -> its figure as text, with ours divided by it.
    beside: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    # What both sides must agree about and did not; such a row is worth nothing.
    wrong: str = ""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """kept, missed, wrong (the sides saw different things) or not measured."""
        if self.wrong:
            return "wrong"
        if self.measured is None or self.promise is None:
            return "not measured"
        return "kept" if self.promise.kept_by(self.measured) else "missed"


def figure(value: float, unit: Unit) -> str:
    """A figure with as many digits as it is worth."""
    if unit == "x":
        return f"{value:.2f} x"
    return f"{value:.1f} {unit}" if abs(value) < 10 else f"{value:.0f} {unit}"


def markdown(outcomes: Iterable[Outcome]) -> str:
    """The table, one line a row."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(one) for one in outcomes)]
    return "\n".join(f"| {' | '.join(_safe(cell) for cell in line)} |" for line in lines)


def as_json(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """The rows as plain values, every sample included."""
    return [{**asdict(one), "verdict": one.verdict} for one in outcomes]


def _cells(one: Outcome) -> tuple[str, ...]:
    beside = ", ".join(f"{name} {text}" for name, text in one.beside.items())
    notes = "; ".join(([one.wrong] if one.wrong else []) + list(one.notes))
    verdict = one.verdict if one.verdict == "kept" else f"**{one.verdict}**"
    return (one.row, one.what, str(one.promise or "-"), told(one), verdict, one.ours, beside, notes)


def told(one: Outcome) -> str:
    """The measured figure with its spread, or a dash."""
    if one.measured is None or one.promise is None:
        return "-"
    middle = figure(one.measured, one.promise.unit)
    if one.spread is None:
        return middle
    low, high = (figure(end, one.promise.unit).split()[0] for end in one.spread)
    return f"{middle} ({low} to {high})"


def _safe(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")

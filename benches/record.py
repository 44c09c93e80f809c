"""A run, written down: Markdown to read, JSON with every sample.

Belongs here: the text around the table, and the files in `results/`. Banned here: measuring.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benches.table import Outcome, as_json, markdown

METHOD = (
    "Warm cache, rounds interleaved, medians of the ratios within a round, spread in brackets. "
    "Both sides of a ratio are processes, timed from start to end; ours is the client that counts "
    "bytes over loopback."
)
DISTURBED = (
    "**Machine disturbed**: a floor exceeded its bound beside `fd -u` or `find -printf`, so "
    "something else was running. Ratios to floors do not count in this run."
)
UNCHECKED = "The floors were not checked in this run: ratios to floors are for orientation only."


@dataclass(frozen=True)
class Run:
    """What was run, where, when, and what came of it."""

    began: datetime
    command: str
    note: str
    machine: Mapping[str, str]
    outcomes: Sequence[Outcome]

    @property
    def state(self) -> str:
        """Whether ratios to floors count: a sentence where they do not, else nothing."""
        floors = [one for one in self.outcomes if one.row == "floors"]
        if not floors:
            return UNCHECKED
        return "" if all(one.verdict == "kept" for one in floors) else DISTURBED


def report(run: Run) -> str:
    """The whole run as Markdown."""
    facts = "\n".join(f"- {name}: {told}" for name, told in run.machine.items() if told)
    parts = [
        f"# {run.began:%Y-%m-%d %H:%M} UTC",
        run.note,
        f"`{run.command}`",
        facts,
        METHOD,
        run.state,
        markdown(run.outcomes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def keep(run: Run, results: Path, words: str) -> list[Path]:
    """Writes both files, never over an earlier run of the same day; gives their paths."""
    results.mkdir(parents=True, exist_ok=True)
    stem = f"{run.began:%Y-%m-%d}-{words}"
    taken = {one.stem for one in results.iterdir()}
    number = 1
    while (name := stem if number == 1 else f"{stem}-{number}") in taken:
        number += 1
    told = {
        "began": run.began.astimezone(UTC).isoformat(timespec="seconds"),
        "command": run.command,
        "note": run.note,
        "machine": dict(run.machine),
        "state": run.state,
        "rows": _rounded(as_json(run.outcomes)),
    }
    files = [results / f"{name}.md", results / f"{name}.json"]
    files[0].write_text(report(run))
    files[1].write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return files


def _rounded(value: object) -> object:
    """Three digits after the point: more are not measured."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value

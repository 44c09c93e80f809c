"""`python -m benches`: runs the rows, prints the table, writes it down.

Belongs here: options and the order of things. Banned here: what a row measures. It exits with 0
whatever the figures are: a missed promise is a line in a table, not an error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benches import machine
from benches.bench import Bench, open_bench
from benches.ours import UnansweredError
from benches.packages import MissingError
from benches.record import Run, keep, report
from benches.rows import ROWS
from benches.table import Outcome, told

ROOT = Path(__file__).parent.parent


def main(words: Sequence[str]) -> None:
    """Parses the options, runs, prints, records."""
    asked = _options().parse_args(words)
    if asked.list:
        print("\n".join(f"{name:14} {row.__doc__}" for name, row in ROWS.items()))
        return
    trees = asked.trees.resolve()
    trees.mkdir(parents=True, exist_ok=True)
    began, facts = datetime.now(UTC), machine.facts(trees)
    with _scratch(trees) as scratch, open_bench(trees, scratch, asked.rounds) as bench:
        outcomes = [one for name in asked.rows for one in _row(bench, name)]
        facts |= {f"left out: {name}": why for name, why in bench.programs.absent.items()}
    facts["load at the end"] = machine.load()
    command = _command(asked)
    run = Run(began, command, asked.note, facts, outcomes)
    print(report(run))
    if not asked.no_record:
        for file in keep(run, asked.results, machine.words()):
            print(f"written: {file}", file=sys.stderr)


def _command(asked: argparse.Namespace) -> str:
    """What to type to do the same again; where things are kept is nobody else's concern."""
    rows = f" --rows {','.join(asked.rows)}" if asked.rows != list(ROWS) else ""
    rounds = f" --rounds {asked.rounds}" if asked.rounds else ""
    return f"python -m benches{rows}{rounds}"


def _row(bench: Bench, name: str) -> Iterator[Outcome]:
    """The outcomes of a row; what cannot be measured says why, and the run goes on."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        for one in ROWS[name](bench):
            print(f"  {one.what}: {told(one)}, {one.promise}: {one.verdict}", file=sys.stderr)
            yield one
    except (UnansweredError, MissingError, RuntimeError) as why:
        print(f"  not measured: {why}", file=sys.stderr, flush=True)
        yield Outcome(name, ROWS[name].__doc__ or name, notes=[str(why)])


@contextmanager
def _scratch(trees: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="run-", dir=trees) as place:
        yield Path(place)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches", description="The promised speeds.")
    parser.add_argument("--rows", type=_rows, default=list(ROWS), help="comma list; default: all")
    parser.add_argument("--rounds", type=_positive, help="measured rounds of every row")
    parser.add_argument("--trees", type=Path, default=ROOT / ".bench", help="where trees are kept")
    parser.add_argument("--results", type=Path, default=ROOT / "benches" / "results")
    parser.add_argument("--note", default="", help="a sentence above the table")
    parser.add_argument("--no-record", action="store_true", help="only print")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    return parser


def _rows(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in ROWS:
            raise argparse.ArgumentTypeError(f"no row {name!r}; there are: {', '.join(ROWS)}")
    return names


def _positive(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return number


if __name__ == "__main__":
    main(sys.argv[1:])

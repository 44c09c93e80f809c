"""What a row may use: trees, programs, a shared server, fresh ones, how many rounds.

Belongs here: the context of a run. Banned here: rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from benches.ours import Server, server
from benches.programs import Programs, gather
from benches.table import Outcome, Promise
from benches.timing import Samples, Side, interleave, ratios
from benches.trees import Trees

THREADS = str(len(os.sched_getaffinity(0)))


@dataclass(frozen=True)
class Bench:
    """One run. `shared` is a server that rows may share; what must be cold starts a fresh one."""

    trees: Trees
    programs: Programs
    scratch: Path
    shared: Server
    rounds: int | None
    _numbers: Iterator[int]

    def times(self, usual: int) -> int:
        """How many rounds: as asked for, else what the row thinks usual."""
        return self.rounds or usual

    def fresh(self) -> AbstractContextManager[Server]:
        """A server that has seen nothing."""
        return server(self.scratch / f"server-{next(self._numbers)}", self.programs.hsink)


Row = Callable[[Bench], Iterator[Outcome]]


@contextmanager
def open_bench(trees: Path, scratch: Path, rounds: int | None) -> Iterator[Bench]:
    """Builds the programs, starts the shared server."""
    programs, numbers = gather(trees / "bin"), count()
    with server(scratch / "server-shared", programs.hsink) as shared:
        yield Bench(Trees(trees), programs, scratch, shared, rounds, numbers)


def compared(
    row: str,
    what: str,
    promise: Promise,
    sides: Sequence[Side],
    *,
    rounds: int,
    notes: Sequence[str] = (),
    wrong: str = "",
) -> Outcome:
    """A row of ratios: the first side is ours, the second what the promise names."""
    samples = interleave(sides, rounds)
    ours, other = sides[0].name, sides[1].name
    found = ratios(samples, ours, other)
    return Outcome(
        row,
        what,
        promise,
        measured=median(found),
        spread=(min(found), max(found)),
        ours=f"{median(samples[ours]):.0f} ms",
        beside=_beside(samples, ours),
        notes=notes,
        wrong=wrong,
        samples=samples,
    )


def _beside(samples: Samples, ours: str) -> dict[str, str]:
    return {
        name: f"{median(taken):.0f} ms ({median(ratios(samples, ours, name)):.2f} x)"
        for name, taken in samples.items()
        if name != ours
    }

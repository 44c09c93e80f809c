"""Whether the machine was quiet enough for the floors to be floors.

Belongs here: the rule of validity and nothing else. Names at most 0.55 of `fd -u`, JSON at most
0.42 of `find -printf '%p %s %T@\\n'`; else something else was running, and no ratio to a floor
counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from benches.bench import THREADS, Bench, compared
from benches.table import Outcome, Promise
from benches.timing import Side, process

NAMES_BOUND = 0.55
JSON_BOUND = 0.42
FIND_FORMAT = "%p %s %T@\\n"


def lim(bench: Bench, mode: str, root: str) -> Side:
    """The floor walker over all of a tree, `.git` included."""
    command = (bench.programs.lim, "-g", "-t", THREADS, "-m", mode, root)
    return process(f"floor {mode}", *command)


def floors(bench: Bench) -> Iterator[Outcome]:
    """The two ratios that must hold for the rest to count."""
    root = str(bench.trees.kernel())
    rounds = bench.times(7)
    if bench.programs.fd:
        yield compared(
            "floors",
            "the names-only floor beside fd -u",
            Promise(NAMES_BOUND, "x", "fd -u"),
            [lim(bench, "names", root), process("fd -u", bench.programs.fd, "-u", ".", root)],
            rounds=rounds,
        )
    find = process("find -printf", "find", root, "-printf", FIND_FORMAT)
    yield compared(
        "floors",
        "the JSON floor beside find -printf",
        Promise(JSON_BOUND, "x", "find -printf"),
        [lim(bench, "json", root), find],
        rounds=rounds,
    )

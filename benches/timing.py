"""Interleaved rounds, and what is made of them.

Belongs here: running sides in turn, medians of ratios. Banned here: knowing what is measured,
and comparing figures of different rounds: a machine that slows down slows both sides of a
round, and the ratio within it survives.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# Nothing here runs longer; what does has hung, and a bench must not hang with it.
DEADLINE_SECONDS = 120.0

Samples = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Side:
    """One contestant: a name and what gives one sample (milliseconds unless its row says else)."""

    name: str
    run: Callable[[], float]


def interleave(sides: Sequence[Side], rounds: int) -> dict[str, list[float]]:
    """Runs A B C A B C ...: one unmeasured round to warm the caches, then `rounds` measured."""
    samples: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides:
            took = side.run()
            if number > 0:
                samples[side.name].append(took)
    return samples


def ratios(samples: Samples, ours: str, other: str) -> list[float]:
    """Ours divided by the other's, round by round."""
    return [a / b for a, b in zip(samples[ours], samples[other], strict=True)]


def median_of_ratios(samples: Samples, ours: str, other: str) -> float:
    """The median of the ratios within a round."""
    return median(ratios(samples, ours, other))


def process(
    name: str, *command: str | Path, stdin: Path | None = None, allowed: Sequence[int] = (0,)
) -> Side:
    """A program as a side: milliseconds from its start to its end, its output thrown away.

    Raises RuntimeError where it exits otherwise than `allowed`.
    """

    def run() -> float:
        with (stdin or Path("/dev/null")).open("rb") as source:
            began = time.perf_counter()
            ended = subprocess.run(
                command,
                stdin=source,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                close_fds=False,  # lets Python start it by vfork
                timeout=DEADLINE_SECONDS,
                check=False,
            )
            took = (time.perf_counter() - began) * 1000
        if ended.returncode not in allowed:
            raise RuntimeError(f"{name} exited with {ended.returncode}")
        return took

    return Side(name, run)

"""Watching 10,000 directories: until it is ready, and from a change to its event.

Belongs here: the time of set-up beside the bare system calls, and the way of one event. Banned
here: changes in numbers (`tests/http/test_watchers.py` has the bursts).
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.serving import Target, serving
from tests.terminals import connected

from benches.bench import Bench, compared
from benches.table import Outcome, Promise
from benches.timing import DEADLINE_SECONDS, Side

DIRECTORIES = 10_000
FILES = 4
EVENTS = 60
OK = 200
# So long the watches of the watcher before take to be given back, beside whom nothing is measured.
REST_SECONDS = 0.3


def watching(bench: Bench) -> Iterator[Outcome]:
    """Set-up, then events."""
    tree = _tree(bench.scratch / "watched")
    with serving(bench.scratch / "watching") as target:
        yield _set_up(bench, target, tree)
        yield _events(bench, target, tree)


def _tree(root: Path) -> Path:
    """So many directories, the root included, a hundred in each but the last."""
    for number in range(DIRECTORIES - 1):
        outer, inner = divmod(number, 100)
        place = root / f"d{outer}" if inner == 0 else root / f"d{outer}" / f"e{inner}"
        place.mkdir(parents=True)
        for name in range(FILES):
            os.mknod(place / f"f{name}")
    return root


def _set_up(bench: Bench, target: Target, tree: Path) -> Outcome:
    seen: dict[str, set[int]] = {"ours": set(), "floor": set()}

    def ours() -> float:
        with _watcher(target, tree) as (took, dirs):
            seen["ours"].add(dirs)
        time.sleep(REST_SECONDS)
        return took

    def floor() -> float:
        command = [bench.programs.watch, tree]
        done = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE_SECONDS)
        took, dirs = done.stdout.split()
        seen["floor"].add(int(dirs))
        return float(took)

    return compared(
        "watch",
        "POST /watchers, 10,000 directories, until it is ready",
        Promise(1.5, "x", "the bare system calls"),
        [Side("POST /watchers", ours), Side("bare calls", floor)],
        rounds=bench.times(9),
        notes=["the floor watches by path, which follows a name that was swapped"],
        wrong="" if len(seen["ours"] | seen["floor"]) <= 1 else f"directories seen: {seen}",
    )


def _events(bench: Bench, target: Target, tree: Path) -> Outcome:
    taken: list[float] = []
    with _watcher(target, tree), connected(target) as socket:
        socket.until_told(type="ready")
        for number in range(EVENTS):
            place = tree / f"d{number % 90}" / f"e{number % 90 + 1}" / f"new{number}"
            began = time.perf_counter()
            os.mknod(place)
            socket.until_told(type="change", path=str(place))
            taken.append((time.perf_counter() - began) * 1000)
    slowest = sorted(taken)[-max(len(taken) // 100, 1)]
    return Outcome(
        "watch-event",
        "a change in 10,000 directories to its event on /ws, p50",
        Promise(60, "ms"),
        measured=median(taken),
        spread=(min(taken), max(taken)),
        ours=f"p50 {median(taken):.1f} ms, p99 {slowest:.1f} ms",
        notes=["50 ms of it are the time in which changes of a path are gathered"],
        samples={"change to event": taken},
    )


@contextmanager
def _watcher(target: Target, tree: Path) -> Iterator[tuple[float, int]]:
    """A watcher: how many milliseconds it took to be ready, and its directories."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=DEADLINE_SECONDS)
    ask = _asking(connection, {"Authorization": f"Bearer {target.token}"})
    body = json.dumps({"path": str(tree)})
    began = time.perf_counter()
    told = ask("POST", "/watchers", body)
    took = (time.perf_counter() - began) * 1000
    try:
        yield took, int(str(told["dirs"]))
    finally:
        ask("DELETE", f"/watchers/{told['id']}", None)
        connection.close()


def _asking(
    connection: http.client.HTTPConnection, headers: dict[str, str]
) -> Callable[[str, str, str | None], dict[str, object]]:
    def ask(method: str, path: str, body: str | None) -> dict[str, object]:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        if answer.status != OK:
            raise RuntimeError(f"{path} answers {answer.status}")
        return dict(told)

    return ask

"""Running a command that does nothing: `POST /exec ["true"]`, beside what it cannot be without.

Belongs here: the latency of a start, by the size of the server. Banned here: commands that do
something. Our side and the yardsticks are asked by the same client, one request after the other,
and in turns: what disturbs the machine disturbs all.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import trio
from tests.serving import Target, serving

from benches.bench import Bench
from benches.rows.small import hello
from benches.table import Outcome, Promise
from benches.timing import DEADLINE_SECONDS, Side, interleave

REQUESTS = 200
OK = 200
BODY = b'{"cmd":["true"]}'
# What the second server holds beside its own: a workspace that has been listed for a day.
BALLAST_MIB = 140


def commands(bench: Bench) -> Iterator[Outcome]:
    """A small server, then one that holds much: `fork` would show the difference."""
    yield from _measured(bench, "exec", 0)
    yield from _measured(bench, "exec-large", BALLAST_MIB)


def _measured(bench: Bench, row: str, ballast: int) -> Iterator[Outcome]:
    with _server(bench.scratch / row, ballast) as target, hello() as port:
        calls = {
            "POST /exec": _asking(target.port, "POST", "/exec", BODY, target.token),
            "hello": _asking(port, "GET", "/hello", None, ""),
            "spawn and wait": _spawn,
        }
        latencies: dict[str, list[float]] = {name: [] for name in calls}
        sides = [Side(name, _p50(call, latencies[name])) for name, call in calls.items()]
        sides.append(Side("trio.run_process", _run_process))
        samples = interleave(sides, bench.times(7))
        resident = _resident_mib(target.pid)
    floors = zip(samples["hello"], samples["spawn and wait"], strict=True)
    found = [ours / sum(floor) for ours, floor in zip(samples["POST /exec"], floors, strict=True)]
    p99 = sorted(latencies["POST /exec"])[-max(len(latencies["POST /exec"]) // 100, 1)]
    yield Outcome(
        row,
        f'POST /exec ["true"], p50, {resident:.0f} MiB resident',
        Promise(1.5, "x", "a Quart-Trio hello and a bare spawn together"),
        measured=median(found),
        spread=(min(found), max(found)),
        ours=f"p50 {median(samples['POST /exec']):.2f} ms, p99 {p99:.2f} ms",
        beside={name: f"{median(samples[name]):.2f} ms" for name in list(samples)[1:]},
        notes=["the bare spawn makes a session too: schedulers group by it"],
        samples=samples,
    )


@contextmanager
def _server(scratch: Path, ballast: int) -> Iterator[Target]:
    """A server whose process holds `ballast` MiB more than it needs."""
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "sitecustomize.py").write_text(f"ballast = b'x' * ({ballast} << 20)\n")
    with serving(scratch, environment={"PYTHONPATH": str(scratch)}) as target:
        yield target


def _asking(
    port: int, method: str, path: str, body: bytes | None, token: str
) -> Callable[[], None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask() -> None:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != OK:
            raise RuntimeError(f"{path} answers {answer.status}")

    return ask


def _spawn() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {}, setsid=True)
    os.waitpid(pid, 0)


def _p50(call: Callable[[], None], latencies: list[float]) -> Callable[[], float]:
    """One sample: the median of some calls, in milliseconds."""

    def sample() -> float:
        taken = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            call()
            taken.append((time.perf_counter() - began) * 1000)
        latencies.extend(taken)
        return median(taken)

    return sample


def _run_process() -> float:
    async def run() -> float:
        taken = []
        for _ in range(REQUESTS // 4):
            began = time.perf_counter()
            await trio.run_process(["/bin/true"], capture_stdout=True, capture_stderr=True)
            taken.append((time.perf_counter() - began) * 1000)
        return median(taken)

    return trio.run(run)


def _resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(one for one in lines if one.startswith("VmRSS")).split()[1]) / 1024

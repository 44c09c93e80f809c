"""A million files: how fast, how soon the first, in how much memory.

Belongs here: what only a large tree shows. Banned here: the kernel tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benches.bench import Bench, compared
from benches.ours import Server, read, request
from benches.rows.floors import lim
from benches.rows.listing import in_milliseconds
from benches.table import Outcome, Promise, figure
from benches.timing import process
from benches.trees import MILLION_SHAPE

OUTER, INNER, FILES = MILLION_SHAPE
ENTRIES = OUTER * (1 + INNER * (1 + FILES))
FIRST_MS = 20.0
GROWTH_MIB = 64.0


def million(bench: Bench) -> Iterator[Outcome]:
    """The ratio with and without rules, the first line, and the growth of a fresh server."""
    root, programs = bench.trees.million(), bench.programs
    plain = request("/files/stream", path=root, use_gitignore="false")
    by_rules = request("/files/stream", path=root)
    floor = lim(bench, "json", str(root))
    sides = [bench.shared.side("ours", plain), floor]
    if programs.walkdir:
        sides.append(process("Go WalkDir + JSON", programs.walkdir, str(root)))
    promise, rounds = Promise(1.3, "x", "the floor with statx and JSON"), bench.times(3)
    wrong, notes = _whole(bench.shared, plain), [f"{ENTRIES:,} entries"]
    what = "1,000,000 files, no rules"
    yield compared("million", what, promise, sides, rounds=rounds, notes=notes, wrong=wrong)
    what, sides = "1,000,000 files, default options", [bench.shared.side("ours", by_rules), floor]
    wrong = _whole(bench.shared, by_rules)
    yield compared("million", what, promise, sides, rounds=rounds, notes=notes, wrong=wrong)
    firsts = [bench.shared.fetch(plain).first_ms for _ in range(rounds + 1)]
    what, samples = "1,000,000 files, the first line", {"ours": firsts}
    yield in_milliseconds("million", what, FIRST_MS, samples, notes=["as the client saw it"])
    yield _growth(bench, plain)


def _whole(server: Server, asked: str) -> str:
    last = read(server.target, asked).rstrip(b"\n").rpartition(b"\n")[2]
    return "" if b'"count":%d' % ENTRIES in last else f"ended with {last[:80]!r}"


def _growth(bench: Bench, asked: str) -> Outcome:
    grown, idles, peaks = [], [], []
    for _ in range(bench.times(3)):
        with bench.fresh() as server:
            idle = server.memory_mib("VmRSS")
            server.forget_peak()
            server.fetch(asked)
            peak = server.memory_mib("VmHWM")
        grown.append(peak - idle)
        idles.append(idle)
        peaks.append(peak)
    return Outcome(
        "million",
        "1,000,000 files, memory over idle",
        Promise(GROWTH_MIB, "MiB"),
        measured=median(grown),
        spread=(min(grown), max(grown)),
        ours=f"{figure(median(idles), 'MiB')} idle, {figure(median(peaks), 'MiB')} at most",
        notes=["VmHWM over VmRSS of a fresh server"],
        samples={"grown": grown, "idle": idles},
    )

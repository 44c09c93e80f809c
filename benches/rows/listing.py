"""Listings: the kernel tree by the rules and without, names only, sorted; node_modules.

Belongs here: rows whose work is walking. Banned here: rows that read files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from benches.bench import THREADS, Bench, compared
from benches.ours import Server, read, request, seen
from benches.programs import HERE
from benches.rows.floors import FIND_FORMAT, lim
from benches.table import Outcome, Promise
from benches.timing import Side, interleave, process
from benches.trees import tracked

ENTRY_LIMIT = 50_000


def stream(bench: Bench) -> Iterator[Outcome]:
    """Default options, by git's rules, with stat and JSON, beside fd that prints names."""
    root, programs = bench.trees.kernel(), bench.programs
    asked = request("/files/stream", path=root)
    sides = [bench.shared.side("ours", asked)]
    if programs.fd:
        command = (programs.fd, "-H", "-E", ".git", f"-j{THREADS}", ".", str(root))
        sides.append(process("fd -H -E .git", *command))
    sides.append(lim(bench, "json", str(root)))
    if programs.rg:
        sides.append(process("rg --files", programs.rg, "--files", "--hidden", str(root)))
    wrong, notes = _by_rules(bench, root, asked)
    promise = Promise(1.0, "x", f"fd -H -E .git -j{THREADS}")
    what = "/files/stream, default options, kernel"
    rounds = bench.times(11)
    yield compared("stream", what, promise, sides, rounds=rounds, notes=notes, wrong=wrong)


def _by_rules(bench: Bench, root: Path, asked: str) -> tuple[str, list[str]]:
    """Compares with git and, as a note, with what fd sees."""
    found = seen(bench.shared.target, root, asked)
    expected = tracked(root)
    lost = expected - found.paths
    more = {one for one in found.paths - expected if not (root / one).is_dir()}
    notes = [f"{len(found.paths):,} entries"]
    if bench.programs.fd:
        command = (bench.programs.fd, "-H", "-E", ".git", "-0", ".", str(root))
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        named = {os.fsdecode(one) for one in told.split(b"\0") if one}
        theirs = {os.path.relpath(one, root) for one in named}
        if theirs != found.paths:
            notes.append(f"fd: {_difference(found.paths, theirs)}")
    if found.complaint() or lost or more:
        return found.complaint() or f"git: {_difference(found.paths, expected)}", notes
    return "", [*notes, "the same as git's"]


def _difference(ours: set[str], theirs: set[str]) -> str:
    lost, more = sorted(theirs - ours), sorted(ours - theirs)
    told = [f"{len(lost)} not in ours ({lost[0]})"] if lost else []
    return " and ".join(told + ([f"{len(more)} only in ours ({more[0]})"] if more else []))


def stream_all(bench: Bench) -> Iterator[Outcome]:
    """No rules, `.git` too, beside the floor that writes the same lines."""
    root, programs = bench.trees.kernel(), bench.programs
    asked = request("/files/stream", path=root, use_gitignore="false")
    script = HERE / "rivals" / "scandir_orjson.py"
    sides = [
        bench.shared.side("ours", asked),
        lim(bench, "json", str(root)),
        process("find -printf", "find", str(root), "-printf", FIND_FORMAT),
        process("scandir + orjson", sys.executable, script, str(root)),
    ]
    if programs.walkdir:
        sides.append(process("Go WalkDir + JSON", programs.walkdir, str(root)))
    if programs.node:
        walk = HERE / "rivals" / "walk.mjs"
        sides.append(process("Node lstat + JSON", programs.node, walk, str(root)))
    wrong, note = _all_entries(bench.shared, root, asked)
    what, rounds = "use_gitignore=false, kernel", bench.times(7)
    promise = Promise(1.3, "x", "the floor with statx and JSON")
    yield compared("stream-all", what, promise, sides, rounds=rounds, notes=[note], wrong=wrong)


def light(bench: Bench) -> Iterator[Outcome]:
    """No rules and no stat, beside the floor that writes names."""
    root, programs = bench.trees.kernel(), bench.programs
    asked = request("/files/stream", path=root, use_gitignore="false", light="true")
    sides = [bench.shared.side("ours", asked), lim(bench, "names", str(root))]
    if programs.fd:
        sides.append(process("fd -u", programs.fd, "-u", ".", str(root)))
    sides.append(process("find", "find", str(root)))
    wrong, note = _all_entries(bench.shared, root, asked)
    what, rounds = "light=true, no rules, kernel", bench.times(15)
    promise = Promise(1.6, "x", "the names-only floor")
    yield compared("light", what, promise, sides, rounds=rounds, notes=[note], wrong=wrong)


def _all_entries(server: Server, root: Path, asked: str) -> tuple[str, str]:
    """Compares with what `find` prints, every path."""
    told = subprocess.run(
        ["find", str(root), "-mindepth", "1", "-print0"], stdout=subprocess.PIPE, check=True
    ).stdout
    start = len(str(root)) + 1
    expected = {os.fsdecode(one)[start:] for one in told.split(b"\0") if one}
    found = seen(server.target, root, asked)
    wrong = found.complaint()
    if not wrong and found.paths != expected:
        wrong = f"find: {_difference(found.paths, expected)}"
    return wrong, f"{len(found.paths):,} entries"


def node_modules(bench: Bench) -> Iterator[Outcome]:
    """300 tracked files beside 100,000 ignored ones: what is ignored must cost nothing."""
    root, programs = bench.trees.node_modules(), bench.programs
    asked = request("/files/stream", path=root)
    sides: list[Side] = [bench.shared.in_client("ours", asked)]
    if programs.rg:
        sides.append(process("rg --files", programs.rg, "--files", "--hidden", str(root)))
    if programs.fd:
        command = (programs.fd, "-H", "-E", ".git", f"-j{THREADS}", ".", str(root))
        sides.append(process("fd -H -E .git", *command))
    wrong, notes = _by_rules(bench, root, asked)
    what = "300 tracked files, 100,000 in node_modules"
    samples = interleave(sides, bench.times(21))
    yield in_milliseconds("node-modules", what, 3.0, samples, notes=notes, wrong=wrong)


def in_milliseconds(
    row: str,
    what: str,
    bound: float,
    samples: dict[str, list[float]],
    *,
    notes: list[str],
    wrong: str = "",
) -> Outcome:
    """A row whose promise is a time, not a ratio."""
    ordered = sorted(samples["ours"])
    middle = ordered[len(ordered) // 2]
    beside = {
        name: f"{sorted(taken)[len(taken) // 2]:.1f} ms"
        for name, taken in samples.items()
        if name != "ours"
    }
    return Outcome(
        row,
        what,
        Promise(bound, "ms"),
        measured=middle,
        spread=(ordered[0], ordered[-1]),
        ours=f"{middle:.1f} ms",
        beside=beside,
        notes=notes,
        wrong=wrong,
        samples=samples,
    )


def tree(bench: Bench) -> Iterator[Outcome]:
    """`GET /files` as a sorted tree, per entry, beside the stream, per entry."""
    root = bench.trees.kernel()
    asked = request("/files", path=root, nested="true")
    streamed = request("/files/stream", path=root)
    counts = {"tree": ENTRY_LIMIT, "stream": len(seen(bench.shared.target, root, streamed).paths)}
    counts["tree"] = min(counts.values())
    sides = [
        _per_entry(bench.shared.side("ours", asked), counts["tree"]),
        _per_entry(bench.shared.side("stream", streamed), counts["stream"]),
    ]
    found = compared(
        "tree",
        "GET /files, tree, sorted, per entry",
        Promise(1.5, "x", "the stream, per entry"),
        sides,
        rounds=bench.times(9),
        notes=[f"{counts['tree']:,} entries beside {counts['stream']:,}; ms per 100,000"],
        wrong=_capped_as_said(bench.shared, asked, counts["tree"]),
    )
    yield found


def _per_entry(side: Side, entries: int) -> Side:
    return Side(side.name, lambda: side.run() * 100_000 / entries)


def _capped_as_said(server: Server, asked: str, expected: int) -> str:
    told = orjson.loads(read(server.target, asked))["count"]
    return "" if told == expected else f"count is {told}, not {expected}"

"""Searches: a rare word and a common one beside ripgrep alone, names beside fd.

Belongs here: rows whose work is searching. Banned here: rows that only list.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benches.bench import THREADS, Bench, compared
from benches.ours import read, request
from benches.packages import MissingError
from benches.table import Outcome, Promise
from benches.timing import process

# On 15 lines of the tree, and on a million.
RARE = "kmalloc_array_node"
COMMON = "return"
NAME = "main"


def _rg(bench: Bench) -> str:
    if not bench.programs.rg:
        raise MissingError("ripgrep is missing")
    return bench.programs.rg


def _promised(bench: Bench, row: str, word: str, asked: str, bound: float) -> Iterator[Outcome]:
    root = bench.trees.kernel()
    command = (
        _rg(bench),
        "--json",
        "--no-config",
        "-i",
        "-F",
        f"-j{THREADS}",
        "-e",
        word,
        str(root),
    )
    sides = [bench.shared.side("ours", asked), process("rg --json", *command)]
    wrong, note = _same(bench, root, asked, command)
    what = f"{asked.partition('?')[0]}, {word!r}, kernel"
    promise = Promise(bound, "x", "rg --json alone")
    rounds = bench.times(9)
    yield compared(row, what, promise, sides, rounds=rounds, notes=[note], wrong=wrong)


def _same(bench: Bench, root: Path, asked: str, command: tuple[str, ...]) -> tuple[str, str]:
    """Compares with the lines that ripgrep finds by itself, by file and number."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout
    theirs = set()
    for line in done.split(b"\n"):
        if line.startswith(b'{"type":"match"'):
            data = json.loads(line)["data"]
            place = data["path"].get("text", "").removeprefix(f"{root}/")
            theirs.add((place, data["line_number"]))
    ours = _found(read(bench.shared.target, asked))
    lost, more = theirs - ours, ours - theirs
    note = f"{len(ours):,} lines; {len(lost)} only in rg, {len(more)} only in ours"
    # Where rules differ, git's count; the rows of listings hold those against git.
    return ("" if len(lost) + len(more) <= len(theirs) / 100 else note), note


def _found(answer: bytes) -> set[tuple[str, int]]:
    lines = [json.loads(line) for line in answer.split(b"\n") if line]
    if len(lines) == 1:
        files = lines[0]["results"].items()
        return {(path, one["line"]) for path, ones in files for one in ones}
    return {(one["path"], one["line"]) for one in lines if "event" not in one}


def search(bench: Bench) -> Iterator[Outcome]:
    """A rare word, as one JSON object."""
    root = bench.trees.kernel()
    asked = request("/files/search", path=root, q=RARE, max_results=10_000, timeout=60)
    yield from _promised(bench, "search", RARE, asked, 1.15)


def search_stream(bench: Bench) -> Iterator[Outcome]:
    """A common word, as a stream."""
    asked = request("/files/search/stream", path=bench.trees.kernel(), q=COMMON)
    yield from _promised(bench, "search-stream", COMMON, asked, 1.5)


def search_files(bench: Bench) -> Iterator[Outcome]:
    """Names that hold a word, ranked, beside fd that prints them."""
    root = bench.trees.kernel()
    asked = request("/files/search/files", path=root, q=NAME, max_results=100_000)
    sides = [bench.shared.side("ours", asked)]
    if not bench.programs.fd:
        raise MissingError("fd is missing")
    command = (bench.programs.fd, "-t", "f", "-p", "-i", "-F", f"-j{THREADS}", NAME, str(root))
    sides.append(process("fd -p", *command))
    found = json.loads(read(bench.shared.target, asked))["total_files"]
    what, promise = f"/files/search/files, {NAME!r}, kernel", Promise(1.0, "x", "fd -p")
    notes = [f"{found:,} files"]
    yield compared("search-files", what, promise, sides, rounds=bench.times(11), notes=notes)

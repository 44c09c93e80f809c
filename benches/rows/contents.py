"""Rows that read every file: hashes, the same hashes again, contents inline.

Belongs here: hashing and contents. Banned here: rows whose work is walking alone. Lists of files
for the floors are made of what git tracks, never of what we answered.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benches.bench import THREADS, Bench, compared
from benches.ours import Seen, request, seen
from benches.table import Outcome, Promise
from benches.timing import DEADLINE_SECONDS, Side, process
from benches.trees import tracked

BUDGET = 2**40


def hashes(bench: Bench) -> Iterator[Outcome]:
    """SHA-256 of every file, from a server that has hashed nothing, beside libcrypto."""
    root, programs = bench.trees.kernel(), bench.programs
    if programs.shafiles is None:
        raise RuntimeError(f"no floor: {programs.absent['shafiles']}")
    asked = request("/files/stream", path=root, include_hash="true")
    files = regular_files(root)
    listed = write_list(bench.scratch / "hash.list", files)
    sides = [
        _from_fresh(bench, asked),
        process("floor libcrypto", programs.shafiles, "ossl", THREADS, stdin=listed),
        process(
            "xargs sha256sum", "xargs", "-0", f"-P{THREADS}", "-n64", "sha256sum", stdin=listed
        ),
    ]
    expected = digests(programs.shafiles, listed, root)
    found = seen(bench.shared.target, root, asked)
    wrong = found.complaint() or _unequal(found.hashes, expected)
    size = sum(one.stat().st_size for one in files)
    promise = Promise(1.3, "x", f"libcrypto on {THREADS} threads")
    notes = [f"{len(files):,} files, {size / 1e9:.2f} GB"]
    notes += [] if wrong else ["every digest equal"]
    what, rounds = "include_hash, fresh server", bench.times(5)
    yield compared("hash", what, promise, sides, rounds=rounds, notes=notes, wrong=wrong)


def _from_fresh(bench: Bench, asked: str) -> Side:
    def run() -> float:
        with bench.fresh() as server:
            return server.side("ours", asked).run()

    return Side("ours", run)


def hashes_again(bench: Bench) -> Iterator[Outcome]:
    """The same again with nothing changed, beside the listing without hashes."""
    root = bench.trees.kernel()
    asked = request("/files/stream", path=root, include_hash="true")
    sides = [
        bench.shared.side("ours", asked),
        bench.shared.side("without hashes", request("/files/stream", path=root)),
    ]
    found = seen(bench.shared.target, root, asked)
    wrong = found.complaint()
    if len(found.hashes) != len(regular_files(root)):
        wrong = wrong or f"{len(found.hashes)} hashes"
    promise = Promise(1.25, "x", "the listing without hashes")
    what, rounds = "include_hash again, unchanged", bench.times(11)
    notes = [f"{len(found.hashes):,} hashes"]
    yield compared("hash-again", what, promise, sides, rounds=rounds, notes=notes, wrong=wrong)


def content(bench: Bench) -> Iterator[Outcome]:
    """Every text inline, beside a program that writes the same to the same client."""
    root, programs = bench.trees.kernel(), bench.programs
    asked = request("/files/stream", path=root, include_content="true", max_content_budget=BUDGET)
    found = seen(bench.shared.target, root, asked)
    texts = [one for one in regular_files(root) if is_text(one)]
    listed = write_list(bench.scratch / "content.list", texts)
    sides = [
        bench.shared.side("ours", asked),
        Side("floor escaping into the same client", lambda: _escaped(bench, listed)),
        process("floor to nowhere", programs.inl, "esc", THREADS, stdin=listed),
    ]
    size = sum(one.stat().st_size for one in texts)
    notes = [f"{len(found.with_content):,} texts, {size / 1e9:.2f} GB"]
    if found.skipped:
        notes.append(", ".join(f"{why}: {many}" for why, many in sorted(found.skipped.items())))
    promise = Promise(1.5, "x", "the floor into a loopback socket")
    what, rounds = "include_content, budget raised", bench.times(5)
    wrong = found.complaint() or _other_texts(found, texts, root)
    yield compared("content", what, promise, sides, rounds=rounds, notes=notes, wrong=wrong)


def _escaped(bench: Bench, listed: Path) -> float:
    """The floor writes to the socket that the counting client opened: until the client ends."""
    inl = [str(bench.programs.inl), "esc", THREADS]
    with socket.create_server(("127.0.0.1", 0)) as listener, listed.open("rb") as files:
        began = time.perf_counter()
        client = subprocess.Popen(
            [bench.programs.hsink, str(listener.getsockname()[1]), "/"],
            stdout=subprocess.DEVNULL,
            close_fds=False,
        )
        line, _ = listener.accept()
        with line:
            line.recv(65536)
            floor = subprocess.Popen(
                inl, stdin=files, stdout=line.fileno(), stderr=subprocess.DEVNULL
            )
        status = floor.wait(DEADLINE_SECONDS)
        client.wait(DEADLINE_SECONDS)
        took = (time.perf_counter() - began) * 1000
    if status != 0:
        raise RuntimeError(f"the floor inl exited with {status} (3: no AVX-512)")
    return took


def regular_files(root: Path) -> list[Path]:
    """The files that git does not ignore, without symlinks and directories, in order."""
    found = (root / one for one in sorted(tracked(root)))
    return [one for one in found if one.is_file() and not one.is_symlink()]


def is_text(path: Path) -> bool:
    """Valid UTF-8 without NUL."""
    held = path.read_bytes()
    try:
        held.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in held


def write_list(place: Path, files: list[Path]) -> Path:
    """The list as the floors read it: each path ended by NUL."""
    place.write_bytes(b"".join(os.fsencode(one) + b"\0" for one in files))
    return place


def digests(shafiles: Path, listed: Path, root: Path) -> dict[str, str]:
    """What libcrypto says, by path relative to the root.

    On one thread: two would write their lines into each other's.
    """
    with listed.open("rb") as source:
        told = subprocess.run(
            [shafiles, "ossl", "1"], stdin=source, stdout=subprocess.PIPE, check=True
        ).stdout
    lines = (os.fsdecode(line) for line in told.splitlines())
    return {os.path.relpath(line[66:], root): line[:64] for line in lines}


def _unequal(ours: dict[str, str], theirs: dict[str, str]) -> str:
    wrong = sorted(one for one in ours.keys() | theirs.keys() if ours.get(one) != theirs.get(one))
    return f"{len(wrong)} digests differ ({wrong[0]})" if wrong else ""


def _other_texts(found: Seen, texts: list[Path], root: Path) -> str:
    """What differs between the texts that came and those that are there.

    A file that was left out for its size was said so, and is less work for us: it is counted.
    """
    expected = {str(one.relative_to(root)) for one in texts}
    more = set(found.with_content) - expected
    fewer = expected - set(found.with_content)
    if more or len(fewer) > found.skipped["too_large"]:
        return f"{len(more)} contents too many, {len(fewer)} too few"
    return f"{len(fewer)} texts left out as too large" if fewer else ""

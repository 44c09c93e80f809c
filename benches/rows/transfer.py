"""Archives: the kernel tree packed and unpacked, beside GNU tar and gzip.

Belongs here: rows whose work is tar.gz. Banned here: rows that list.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benches.bench import Bench, compared
from benches.table import Outcome, Promise
from benches.timing import DEADLINE_SECONDS, Side

MIB = 2**20
# A part of the kernel: a round of all of it takes a minute, most of which is the disk.
PART = "fs"


def download(bench: Bench) -> Iterator[Outcome]:
    """A tree as tar.gz over loopback, beside `tar | gzip -1` on as many processes as cores."""
    root = bench.trees.kernel() / PART
    ours = _curl(bench, "/files/transfer/download", "-d", json.dumps({"paths": [str(root)]}))
    tar = f"tar -C {root.parent} -cf - {root.name} | gzip -1 > /dev/null"
    sides = [Side("ours", lambda: _timed(ours)), Side("tar | gzip -1", lambda: _timed(tar))]
    wrong, size = _holds(f"{ours} | gzip -dc", root)
    promise = Promise(1.0, "x", "tar | gzip -1")
    what = f"/files/transfer/download, {PART} of the kernel"
    rounds, notes = bench.times(3), [f"{size / MIB:.0f} MiB"]
    yield compared("download", what, promise, sides, rounds=rounds, notes=notes, wrong=wrong)


def upload(bench: Bench) -> Iterator[Outcome]:
    """A tar.gz over loopback into a new directory, beside `tar -xz`, both synced to the disk."""
    root, place = bench.trees.kernel() / PART, bench.scratch / "upload"
    place.mkdir()
    archive = place / "archive.tar.gz"
    subprocess.run(
        f"tar -C {root.parent} -cf - {root.name} | gzip -1 > {archive}", shell=True, check=True
    )
    size = int(
        subprocess.run(
            f"gzip -dc {archive} | wc -c", shell=True, check=True, capture_output=True
        ).stdout
    )
    ours = _curl(bench, f"/files/transfer/upload?dest={place}/ours", "-T", archive, "-X", "POST")
    tar = f"mkdir {place}/tar && tar -C {place}/tar -xzf {archive} && sync -f {place}/tar"
    sides = [
        Side("ours", _fresh(place / "ours", ours)),
        Side("tar -xz, synced", _fresh(place / "tar", tar)),
    ]
    _fresh(place / "ours", ours)()
    _fresh(place / "tar", tar)()
    same = ["diff", "-rq", "--no-dereference", str(place / "ours"), str(place / "tar")]
    wrong = subprocess.run(same, capture_output=True, text=True, check=False).stdout[:200]
    promise = Promise(1.0, "x", "tar -xz, synced")
    what = f"/files/transfer/upload, {PART} of the kernel"
    rounds, notes = bench.times(3), [f"{size / MIB:.0f} MiB"]
    yield compared("upload", what, promise, sides, rounds=rounds, notes=notes, wrong=wrong)
    shutil.rmtree(place)


def _curl(bench: Bench, path: str, *words: object) -> str:
    target = bench.shared.target
    told = " ".join(f"'{one}'" for one in words)
    header = f"-H 'Authorization: Bearer {target.token}' -H Expect:"
    return f"curl -sSf {header} {told} '{target.url}{path}'"


def _timed(command: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        command,
        shell=True,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=DEADLINE_SECONDS,
    )
    return (time.perf_counter() - began) * 1000


def _fresh(place: Path, command: str) -> Callable[[], float]:
    def run() -> float:
        shutil.rmtree(place, ignore_errors=True)
        return _timed(command)

    return run


def _holds(command: str, root: Path) -> tuple[str, int]:
    """What is wrong with the archive that a command writes, and how large it is."""
    done = subprocess.run(
        f"{command} | tar -tf - | wc -l", shell=True, check=True, capture_output=True
    )
    found, wanted = int(done.stdout), 1 + sum(1 for _ in root.rglob("*"))
    sized = subprocess.run(f"{command} | wc -c", shell=True, check=True, capture_output=True)
    return ("" if found == wanted else f"{found} members, {wanted} entries"), int(sized.stdout)

"""Mounts for tests: in a namespace of the server's own, and one that hangs.

Belongs here: the words that put a server where a test may mount what it likes. Nothing that is
mounted inside is seen by the machine, and all of it goes with the server; a test looks inside
through `/proc/PID/root`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest


@cache
def _is_possible() -> bool:
    if os.geteuid() != 0:
        return False
    words = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(not _is_possible(), reason="no mount namespace without root")


def inside(*commands: str) -> list[str]:
    """For `serving(preexec=...)`: runs shell commands in a new namespace, then the server."""
    script = "\n".join(("set -e", *commands, 'exec "$@"'))
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]


def command(*words: object) -> str:
    return shlex.join(map(str, words))


def tmpfs(place: Path, size: str) -> str:
    return command("mount", "-t", "tmpfs", "-o", f"size={size}", "none", place)


def bind(source: Path, place: Path) -> str:
    return command("mount", "--bind", source, place)


def seen_by(pid: int, path: Path) -> Path:
    """A path as the server's namespace has it."""
    return Path(f"/proc/{pid}/root{path}")


needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK),
    reason="no FUSE without root",
)


@contextmanager
def hung(place: Path) -> Iterator[Path]:
    """A mount over `place` that answers nothing; it ends for good with the descriptor."""
    place.mkdir()
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        words = ["mount", "-i", "-t", "fuse", "-o", options, "none", os.fspath(place)]
        subprocess.run(words, check=True, pass_fds=[device])
        yield place
    finally:
        os.close(device)
        subprocess.run(["umount", "--lazy", os.fspath(place)], check=False)


def threads_waiting(pid: int) -> int:
    """Threads of a process that wait for FUSE."""
    found = 0
    for one in Path(f"/proc/{pid}/task").iterdir():
        found += b"fuse" in (one / "wchan").read_bytes()
    return found

"""Servers in a mount namespace of their own, where a test may mount what it likes.

Belongs here: the words that put a server there. Nothing that is mounted inside is seen by the
machine, and all of it goes with the server; a test looks inside through `/proc/PID/root`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
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

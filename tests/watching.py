"""What a process does, seen from outside.

Belongs here: waiting for what tells nobody, and what `/proc` knows of a process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 20.0


def wait_until(condition: Callable[[], object]) -> None:
    """Polls; fails after a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def held(pid: int, below: Path) -> list[str]:
    """What a process holds open at or below a path, files without a name included."""
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(one))
        except FileNotFoundError:
            continue
    return [one for one in found if one == str(below) or one.startswith(f"{below}/")]

"""File descriptors: as many as the system allows, and the old limit kept for children.

Belongs here: RLIMIT_NOFILE. Banned here: counting connections (`census`).
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

# What walks, spool files, child processes and listeners need beside connections.
RESERVED: Final = 64

# The soft limit that the process was started with. Programs that use select() break above
# 1024, so children get it back.
_inherited: Final = resource.getrlimit(resource.RLIMIT_NOFILE)


def inherited_limit() -> tuple[int, int]:
    """RLIMIT_NOFILE, soft and hard, as it was before the server raised it: for children."""
    return _inherited


def raise_limit() -> int:
    """Raises the soft limit to the hard one; returns how many connections that leaves room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # An unlimited hard limit may be refused: the soft one stays.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**20
    return max(soft - RESERVED, 1)

"""strace, where it is there and may trace.

Belongs here: whether it can be used. Banned here: what is traced.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


@cache
def can_trace() -> bool:
    """Some containers have the program and deny ptrace."""
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True)
    return done.returncode == 0

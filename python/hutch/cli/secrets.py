"""Taking a secret out of the environment, so that nobody finds it there later.

Belongs here: overwriting the process's own copy. `os.environ.pop` removes the name from the
list that libc keeps; the bytes stay where the kernel put them and `/proc/PID/environ` shows
them for as long as the process lives.
"""

from __future__ import annotations

import ctypes
import os


def take_from_environment(name: str) -> str | None:
    """The variable's value, gone from the environment and from `/proc/self/environ`.

    An empty one counts as none. To be called before any thread starts: libc's environment
    has no lock.
    """
    value = os.environ.get(name)
    if value is None:
        return None
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(name.encode("ascii"))
    if address:
        ctypes.memset(address, 0, len(os.fsencode(value)))
    os.environ.pop(name)
    return value or None

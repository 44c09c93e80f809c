"""What the C library does with memory that was freed.

Belongs here: that one setting. By itself glibc gives the end of the heap back to the kernel after
each large buffer and takes it anew for the next one: two system calls a piece of a body, and every
page of it zeroed again, which costs more than copying the piece. So up to 8 MiB stay.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_TRIM_THRESHOLD: Final = -1  # malloc.h, M_TRIM_THRESHOLD
_MMAP_THRESHOLD: Final = -3  # malloc.h, M_MMAP_THRESHOLD
_KEPT_BYTES: Final = 8 * 1024 * 1024
# Setting either threshold stops glibc from growing them as it learns; pieces of bodies are smaller.
_MAPPED_BYTES: Final = 1024 * 1024


def keep_freed_memory() -> None:
    """Sets it, for the whole process; does nothing where the C library has no such setting."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)

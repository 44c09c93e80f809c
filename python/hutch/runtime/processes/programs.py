"""Which file a word names: the search in `PATH`.

Belongs here: finding a program. Banned here: starting it. All of it may wait for a disk: it runs
in a lane.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hutch.wire.errors import Failure

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program is looked for: the directory it starts in, and its own `PATH`."""

    directory: bytes
    path: str


def executable(word: str, place: Place) -> bytes | None:
    """The program that the word, as it stands, names; None where it names none."""
    return next(filter(_is_executable, _candidates(word, place)), None)


def locate(word: str, place: Place) -> bytes:
    """The program's file.

    What is there and may not be executed is returned too: executing it says why.
    Raises `Failure` (internal) where nothing is there.
    """
    found = executable(word, place)
    if found is None:
        found = next(filter(_is_there, _candidates(word, place)), None)
    if found is None:
        raise Failure("internal", f"executable not found: {word[:200]}")
    return found


def _candidates(word: str, place: Place) -> Iterator[bytes]:
    name = word.encode()
    if b"/" in name:
        yield _below(place.directory, name)
    elif name:
        for part in place.path.split(":"):
            # An empty element is the working directory, as POSIX has it.
            yield _below(_below(place.directory, part.encode()), name)


def _below(directory: bytes, name: bytes) -> bytes:
    return os.path.join(directory, name)  # noqa: PTH118  # Path knows no bytes


def _is_there(path: bytes) -> bool:
    try:
        os.stat(path)  # noqa: PTH116  # as above
    except (OSError, ValueError):
        return False
    return True


def _is_executable(path: bytes) -> bool:
    # Asked first, since it raises nothing for the many places where there is nothing.
    return os.access(path, os.X_OK) and _is_regular(path)


def _is_regular(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # as above
    except OSError:
        return False

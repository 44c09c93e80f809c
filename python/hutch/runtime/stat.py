"""The metadata of one entry.

Belongs here: asking the system. Banned here: what the answer looks like (`wire.stat`).

This is the small request that clients make most. What the kernel has in memory is asked for
without a visit to a thread, which costs a quarter of the whole; a mount that hangs never is.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import Final

from hutch import _native
from hutch.runtime.lanes import Lane
from hutch.wire.errors import from_os_error
from hutch.wire.stat import FileStat, describe

# Of its own, so that a hung mount that fills another lane leaves this one alone.
_WIDTH: Final = 16


class Stats:
    """The service that looks at entries."""

    def __init__(self) -> None:
        self._lane = Lane(_WIDTH)

    async def stat(self, path: bytes) -> FileStat:
        """What the entry is; a symlink is not followed. Raises `Failure`."""
        try:
            return _describe(path, _at_once(path))
        except BlockingIOError:
            pass
        try:
            return await self._lane.look(partial(_look, path))
        except OSError as error:
            raise from_os_error(error, path=path) from error


def _at_once(path: bytes) -> os.stat_result:
    """From the kernel's memory. Raises BlockingIOError where that is not enough."""
    descriptor = _native.find_at_once(path)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _look(path: bytes, _stop: _native.Stop) -> FileStat:
    return _describe(path, os.lstat(path))


def _describe(path: bytes, info: os.stat_result) -> FileStat:
    name = path[path.rindex(b"/") + 1 :]
    is_link = stat.S_ISLNK(info.st_mode)
    return describe(
        path,
        info,
        modified=_native.rfc3339(info.st_mtime_ns // 10**9),
        target=os.readlink(path) if is_link else None,  # noqa: PTH115  # bytes
        extension=_native.extension(name),
        is_code=_native.is_code(name),
    )

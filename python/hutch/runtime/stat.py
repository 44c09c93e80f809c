"""The metadata of one entry.

Belongs here: asking the system. Banned here: what the answer looks like (`wire.stat`).
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
            return await self._lane.run(partial(_look, path))
        except OSError as error:
            raise from_os_error(error, path=path) from error


def _look(path: bytes) -> FileStat:
    info = os.lstat(path)
    name = path[path.rindex(b"/") + 1 :]
    return describe(
        path,
        info,
        target=os.readlink(path) if stat.S_ISLNK(info.st_mode) else None,  # noqa: PTH115  # bytes
        extension=_native.extension(name),
        is_code=_native.is_code(name),
    )

"""Making directories.

Belongs here: the service. Banned here: the steps (`hutch-core` makes them).
Source: wire contract, section 2, "Mkdir".
"""

from __future__ import annotations

from functools import partial
from typing import Final

from hutch import _native
from hutch.runtime.lanes import Lanes
from hutch.wire.change import parse_mode
from hutch.wire.errors import from_os_error
from hutch.wire.mkdir import Made, MkdirBody
from hutch.wire.paths import path_fields

_WIDTH: Final = 4
_MODE: Final = 0o755


class Mkdirs:
    """The service that makes directories."""

    def __init__(self) -> None:
        self._lanes = Lanes(_WIDTH)

    async def make(self, asked: MkdirBody) -> Made:
        """Makes the directory with its parents; one that is there is left as it is.

        Raises `Failure`: bad_request where a file is in the way, forbidden.
        """
        mode = parse_mode(asked.mode)
        work = partial(_native.make_dirs, asked.path, mode=_MODE if mode is None else mode)
        try:
            created = await self._lanes.of(asked.path).run(work)
        except OSError as error:
            raise from_os_error(error, path=asked.path) from error
        return Made(created=created, **path_fields(asked.path))

"""Which sessions run, on disk: a server that was killed ends them when it starts again.

Belongs here: the file and what is done with it. Where there are cgroups they did so already; this
is for machines without. Banned here: bringing a terminal back: nobody holds its other end.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from hutch.runtime.processes import sessions
from hutch.runtime.processes.tree import Tree


class _Line(Struct, frozen=True):
    pid: int
    started: int | None
    boot: str
    ended: bool = False


class Ledger:
    """A line for each start and each end."""

    def __init__(self, path: Path) -> None:
        """Begins anew, once what an earlier instance left has been ended. Raises OSError."""
        self._boot = sessions.boot_id()
        _end(path, self._boot)
        self._file = path.open("wb", buffering=0)

    def started(self, tree: Tree) -> None:
        """A session runs."""
        self._write(tree, ended=False)

    def ended(self, tree: Tree) -> None:
        """Its leader has ended: its number may be given to strangers."""
        self._write(tree, ended=True)

    def _write(self, tree: Tree, *, ended: bool) -> None:
        if tree.cgroup is not None:
            return
        line = _Line(tree.session, tree.started, self._boot, ended)
        with suppress(OSError):  # a full disk: the terminal is worth more than the note
            self._file.write(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _end(path: Path, boot: str) -> None:
    left: dict[int, _Line] = {}
    for line in _read(path):
        if line.ended:
            left.pop(line.pid, None)
        elif line.boot == boot:
            left[line.pid] = line
    for line in left.values():
        sessions.kill(line.pid, line.started)


def _read(path: Path) -> list[_Line]:
    found: list[_Line] = []
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with suppress(msgspec.MsgspecError):  # the last may have been cut
                found.append(msgspec.json.decode(line, type=_Line))
    return found

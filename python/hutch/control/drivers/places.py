"""Where a workspace that is a process keeps what it has: its directory, and what stands in it.

Belongs here: paths, files. Banned here: processes, HTTP. Everything here blocks.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from hutch.state import write_private

_SHOWN: Final = 300
_TAIL: Final = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """The directory of one workspace."""

    path: Path

    @property
    def state(self) -> Path:
        """The server's state directory, by which it is known."""
        return self.path / "state"

    @property
    def home(self) -> Path:
        """Home and working directory of its commands."""
        return self.path / "home"

    @property
    def programs(self) -> Path:
        """Where it installs programs: not where others find them."""
        return self.path / "bin"

    @property
    def token_file(self) -> Path:
        """The file with its raw token."""
        return self.path / "token"

    @property
    def ready_file(self) -> Path:
        """What the server writes once its listeners stand; there until it ended in good order."""
        return self.path / "ready.json"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.path / "log"

    def make(self) -> None:
        """Makes what must be there before a server starts. Raises OSError."""
        for one in (self.path, self.home):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write_token(self, token: str) -> None:
        """Puts a token in place atomically: whoever reads sees the old one or the new."""
        write_private(self.token_file, f"{token}\n".encode())

    def instance(self, pid: int) -> str | None:
        """The instance of a server whose listeners stand; None while they don't."""
        try:
            told: Any = msgspec.json.decode(self.ready_file.read_bytes())
            return str(told["instance"]) if told["pid"] == pid else None
        except (OSError, msgspec.DecodeError, UnicodeError, RecursionError, KeyError, TypeError):
            return None

    @property
    def has_remains(self) -> bool:
        """Whether the last server, if it runs no more, may have left commands running."""
        return self.ready_file.exists()

    def forget_server(self) -> None:
        """The last server has ended with all that it ran. Raises OSError."""
        self.ready_file.unlink(missing_ok=True)

    def last_line(self, *, after: int) -> str:
        """The last of what a server said, whose words begin at byte `after` of the log."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                # A shorter one was emptied meanwhile.
                start = after if size >= after else 0
                file.seek(max(start, size - _TAIL))
                lines = file.read(_TAIL).decode("utf-8", "replace").split("\n")
        except OSError:
            return "it said nothing"
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][:_SHOWN] if said else "it said nothing"

    def trim_log(self, most: int) -> None:
        """Empties a log of over `most` bytes; the server appends, so it goes on at the start."""
        with suppress(OSError):
            if self.log.stat().st_size > most:
                os.truncate(self.log, 0)


class Places:
    """The directories of all workspaces, below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._trash = root / ".removed"

    def of(self, workspace: str) -> Place:
        """The place of a workspace."""
        return Place(self._root / workspace)

    def discard(self, workspace: str) -> None:
        """Has a workspace's directory gone at once; its content is in the trash. Raises OSError."""
        place = self.of(workspace).path
        if place.exists():
            self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.rename(self._trash / f"{workspace}.{secrets.token_hex(4)}")

    def empty_trash(self) -> None:
        """Removes what is in the trash; what cannot be removed is left to the next time."""
        if self._trash.exists():
            shutil.rmtree(self._trash, ignore_errors=True)

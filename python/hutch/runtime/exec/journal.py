"""The journal: which commands were asked for, so that none runs twice, also after a crash.

Belongs here: a file of lines, appended to before a command is started and after it has ended,
and reading it at start. Banned here: what follows from it (`registry`).

There is no fsync: it survives the server, not a power cut. A line that was cut by a crash is
skipped. When most lines tell of what is forgotten, the file is written anew.
Source: wire contract, section 4, `Idempotency-Key`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hutch.wire.errors import from_os_error
from hutch.wire.exec import TaskFacts

_log: Final = logging.getLogger(__name__)

# Below this many lines a file is left as it is.
_LEAST: Final = 20_000


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. `begin` comes before the start, `pid` after it, then `end`.

    `release` says that nothing was started after all, `forget` that the task is known no more,
    `key` keeps a key whose task is forgotten.
    """

    op: Literal["begin", "pid", "end", "release", "forget", "key"]
    uid: str
    at: float = 0.0
    key: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    fingerprint: str | UnsetType = UNSET
    facts: TaskFacts | UnsetType = UNSET
    pid: int = 0
    started: int = 0
    boot: str | UnsetType = UNSET


class Journal:
    """The open file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = 0
        self._descriptor = self._open()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)

    def read(self) -> list[Line]:
        """Every line that can be read, in order."""
        found, decoder = [], msgspec.json.Decoder(Line)
        for raw in self._path.read_bytes().split(b"\n"):
            if raw:
                try:
                    found.append(decoder.decode(raw))
                except msgspec.MsgspecError:
                    _log.warning("a line of the journal of commands is damaged, and skipped")
        return found

    def append(self, line: Line) -> None:
        """Adds a line. Raises `Failure` (insufficient_storage, say) where it cannot."""
        try:
            _write_all(self._descriptor, msgspec.json.encode(line) + b"\n")
        except OSError as error:
            raise from_os_error(error, path=os.fsencode(self._path)) from error
        self._lines += 1

    def wants_rewriting(self, live: int) -> bool:
        """Whether most of it tells of what is forgotten; `live` is how many records are not."""
        return self._lines > max(_LEAST, 8 * live)

    def rewrite(self, lines: Iterable[Line]) -> None:
        """Writes it anew, atomically. Where it cannot, the old one stays, and grows."""
        encoded = [msgspec.json.encode(line) for line in lines]
        new = self._path.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, b"".join(one + b"\n" for one in encoded))
            finally:
                os.close(descriptor)
            new.replace(self._path)
        except OSError as error:
            _log.warning("the journal of commands could not be written anew: %s", error)
            self._lines = 0
            return
        os.close(self._descriptor)
        self._descriptor = self._open()
        self._lines = len(encoded)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]

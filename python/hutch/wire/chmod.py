"""Permission bits on the wire: what may be asked, and the account of it.

Belongs here: `ChmodBody` and `Changed`. Banned here: files.
Source: wire contract, section 2, in the voice of "Write" (`mode`) and "Delete" (accounts).
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from hutch.wire.change import parse_mode
from hutch.wire.paths import AbsolutePath


class ChmodBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /files/chmod`. Both modes are octal: "0644".

    `dir_mode` is for directories, so that a tree can be changed without being closed.
    """

    path: AbsolutePath
    mode: str
    dir_mode: str | None = None
    recursive: bool = False
    expected_hash: str | None = None

    @property
    def bits(self) -> int:
        """What `mode` says. Raises `Failure` (bad_request)."""
        return parse_mode(self.mode) or 0

    @property
    def directory_bits(self) -> int | None:
        """What `dir_mode` says. Raises `Failure` (bad_request)."""
        return parse_mode(self.dir_mode, name="dir_mode")


class Changed(Struct, frozen=True, kw_only=True):
    """The answer: `mode` as it was asked for, four digits, and how many entries have it now."""

    path: str
    mode: str
    changed: int
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET

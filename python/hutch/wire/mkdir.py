"""Making a directory on the wire.

Belongs here: `MkdirBody` and `Made`. Banned here: files.
Source: wire contract, section 2, "Mkdir"; reference, "Create directory".
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from hutch.wire.paths import AbsolutePath


class MkdirBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /files/mkdir`. `mode` is octal, "0755" where none is given."""

    path: AbsolutePath
    mode: str | None = None


class Made(Struct, frozen=True, kw_only=True):
    """The answer; `created` is false where the directory was there, with a mode of its own."""

    path: str
    created: bool
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET

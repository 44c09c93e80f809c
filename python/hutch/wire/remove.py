"""Removing a file or a tree on the wire: what may be asked, and the account of it.

Belongs here: the request, the answer, and the protected paths. Banned here: files.
Source: wire contract, section 2, "Delete"; reference, "Delete".
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType

from hutch.wire.paths import AbsolutePath

PROTECTED: Final = (
    b"/",
    b"/bin",
    b"/sbin",
    b"/usr",
    b"/lib",
    b"/lib64",
    b"/etc",
    b"/dev",
    b"/proc",
    b"/sys",
    b"/boot",
    b"/run",
)


class RemoveRequest(Struct, frozen=True, kw_only=True):
    """What `DELETE` and `POST /files/delete` take, in the query or in the body."""

    path: AbsolutePath
    expected_hash: str | None = None


class Removed(Struct, frozen=True, kw_only=True):
    """The answer once all of it is gone; `removed` counts entries."""

    path: str
    removed: int
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET

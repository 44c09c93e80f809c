"""Listing a directory on the wire: what may be asked, and the shape of an answer.

Belongs here: `WalkQuery`, and `Entry` and `Listing` as the published schema (their bytes are
made by the extension, finished). Banned here: encoding entries in Python.
Source: wire contract, section 2, "List and stream"; reference, "List directory".
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from hutch.wire.paths import AbsolutePath

ENTRY_LIMIT: Final = 50_000
CONTENT_BUDGET: Final = 50 * 1024 * 1024

Text = Annotated[str, Meta(max_length=4096)]


class WalkQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /files` and `GET /files/stream`, complete and checked."""

    path: AbsolutePath = b"/"
    nested: bool = False
    flatten: bool = False
    light: bool = False
    include_hash: bool = False
    include_content: bool = False
    include_extensions: bool = False
    code_files_only: bool = False
    use_gitignore: bool = True
    max_depth: Annotated[int, Meta(ge=1, le=1000)] = 20
    path_filter: Text = ""
    include_ext: Annotated[list[Text], Meta(max_length=1000)] = []
    ignore_patterns: Annotated[list[Text], Meta(max_length=10_000)] = []
    max_content_budget: Annotated[int, Meta(ge=0, le=2**53)] = CONTENT_BUDGET


class Entry(Struct, frozen=True, kw_only=True):
    """One entry of a listing. `truncated` says of a directory that the cap cut its children."""

    name: str
    path: str
    type: Literal["file", "directory", "symlink", "other"]
    path_b64: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    modified: str | UnsetType = UNSET
    extension: str | UnsetType = UNSET
    symlink_target: str | UnsetType = UNSET
    symlink_target_b64: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    content_skipped: Literal["binary", "budget", "too_large", "unreadable"] | UnsetType = UNSET
    hash: str | UnsetType = UNSET
    hash_skipped: Literal["unreadable", "pseudo_filesystem"] | UnsetType = UNSET
    skipped: Literal["pseudo_filesystem"] | UnsetType = UNSET
    depth_limited: bool | UnsetType = UNSET
    truncated: Literal[True] | UnsetType = UNSET
    children: list[Entry] | UnsetType = UNSET


class WalkError(Struct, frozen=True, kw_only=True):
    """A directory that could not be read."""

    path: str
    error: str
    path_b64: str | UnsetType = UNSET


class WalkWarning(Struct, frozen=True, kw_only=True):
    """A rule, or a file of rules, that could not be understood and hides nothing."""

    path: str
    message: str
    path_b64: str | UnsetType = UNSET


class Listing(Struct, frozen=True, kw_only=True):
    """The answer of `GET /files`."""

    path: str
    entries: list[Entry]
    count: int
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    errors: list[WalkError] | UnsetType = UNSET
    warnings: list[WalkWarning] | UnsetType = UNSET

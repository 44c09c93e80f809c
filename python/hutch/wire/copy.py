"""Copying and moving on the wire: what may be asked, and the account of it.

Belongs here: `CopyBody`, `MoveBody`, `Copied`, `Moved`. Banned here: files.
Source: wire contract, section 2, in the voice of "Write" and "Delete": neither the reference nor
the published client has such endpoints.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from msgspec import UNSET, Struct, UnsetType, field

from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath, display, encode_b64


class CopyBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /files/copy`. `from` and `to` are other names of `source` and
    `destination`, which is the new name itself and not the directory to put it in.
    """

    source: AbsolutePath | None = None
    destination: AbsolutePath | None = None
    from_: AbsolutePath | None = field(default=None, name="from")
    to: AbsolutePath | None = None
    overwrite: bool = False
    create_dirs: bool = False
    expected_hash: str | None = None

    @property
    def ends(self) -> tuple[bytes, bytes]:
        """Source and destination. Raises `Failure` (bad_request) where one is missing."""
        source = self.source if self.source is not None else self.from_
        destination = self.destination if self.destination is not None else self.to
        if source is None:
            raise Failure("bad_request", "source: missing; this request needs it")
        if destination is None:
            raise Failure("bad_request", "destination: missing; this request needs it")
        return source, destination


class MoveBody(CopyBody, frozen=True, kw_only=True):
    """The body of `POST /files/move`."""


class Skipped(Struct, frozen=True, kw_only=True):
    """What was not copied, being no file, and what it is."""

    path: str
    reason: Literal["fifo", "socket", "device", "pseudo_filesystem"]
    path_b64: str | UnsetType = UNSET


class Copied(Struct, frozen=True, kw_only=True):
    """The answer once all of it is there: `copied` entries, `bytes` of content."""

    source: str
    destination: str
    copied: int
    bytes: int
    skipped: list[Skipped]
    success: Literal[True] = True
    source_b64: str | UnsetType = UNSET
    destination_b64: str | UnsetType = UNSET
    skipped_truncated: bool | UnsetType = UNSET


class Moved(Struct, frozen=True, kw_only=True):
    """The answer once all of it is there, and nothing at the source.

    `atomic` is there, and false, where it went to another file system: then it was copied, and
    removed afterwards; `copied` and `bytes` say how much.
    """

    source: str
    destination: str
    success: Literal[True] = True
    source_b64: str | UnsetType = UNSET
    destination_b64: str | UnsetType = UNSET
    atomic: bool | UnsetType = UNSET
    copied: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET


class EndFields(TypedDict):
    """How an answer names both ends."""

    source: str
    destination: str
    source_b64: NotRequired[str]
    destination_b64: NotRequired[str]


def end_fields(source: bytes, destination: bytes) -> EndFields:
    """Both names, with their twins in base64 where they lose something."""
    named: EndFields = {"source": display(source), "destination": display(destination)}
    encoded = encode_b64(source)
    if encoded is not None:
        named["source_b64"] = encoded
    encoded = encode_b64(destination)
    if encoded is not None:
        named["destination_b64"] = encoded
    return named

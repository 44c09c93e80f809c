"""Writing a file on the wire: what may be asked, and the shape of the answer.

Belongs here: `WriteBody`, `UploadQuery`, `Written`. Banned here: files.
Source: wire contract, section 2, "Write" and "Raw"; reference, "Write file".
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType

from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath

# Either alphabet, and without the line breaks that `base64` and MIME put in.
_STANDARD: Final = str.maketrans("-_", "+/", "\r\n \t")
_MOST_PADDING: Final = 2


class WriteBody(Struct, frozen=True, kw_only=True):
    """The body of `POST` and `PUT /files/write`. `mode` is octal: "0644"."""

    path: AbsolutePath
    content: str
    create_dirs: bool = False
    append: bool = False
    mode: str | None = None
    encoding: Literal["utf-8", "utf8", "base64"] = "utf-8"
    expected_hash: str | None = None


class UploadQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `PUT /files/raw`; the body is the file."""

    path: AbsolutePath
    create_dirs: bool = False
    mode: str | None = None
    expected_hash: str | None = None


class Written(Struct, frozen=True, kw_only=True):
    """The answer: `size` is the file's size afterwards, in bytes.

    `hash` is absent after appending. `atomic` is there, and false, where the file could only be
    overwritten in place.
    """

    path: str
    size: int
    etag: str
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET
    hash: str | UnsetType = UNSET
    atomic: bool | UnsetType = UNSET


def decode_content(body: WriteBody, *, limit: int) -> bytes:
    """The bytes to write.

    Raises `Failure`: bad_request for malformed base64, too_large for more than `limit` bytes.
    """
    content = body.content.encode() if body.encoding != "base64" else _from_base64(body.content)
    if len(content) > limit:
        raise Failure(
            "too_large",
            f"content: {len(content)} bytes; at most {limit} are taken here, "
            "PUT /files/raw takes a file of any size",
        )
    return content


def _from_base64(text: str) -> bytes:
    plain = text.translate(_STANDARD)
    padding = len(plain) - len(plain.rstrip("="))
    # Python's strict mode lets padding pass that is too long; padding that lacks is a cut.
    if len(plain) % 4 or padding > _MOST_PADDING:
        raise Failure("bad_request", "content: not base64: its length or padding is wrong")
    try:
        return b64decode(plain.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Failure("bad_request", f"content: not base64: {error}") from None

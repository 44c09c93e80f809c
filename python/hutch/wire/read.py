"""Reading one file as text on the wire: what may be asked, and the shape of the answer.

Belongs here: `ReadQuery`, and `FileContent` with the two parts in which it leaves: what is
known before the content, and what only reading it tells. Banned here: the content itself,
whose bytes the extension finishes.
Source: wire contract, section 2, "Read"; reference, "Read file".
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath

LineNumber = Annotated[int, Meta(ge=1, le=2**53)]


class ReadQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /files/read`."""

    path: AbsolutePath
    start_line: LineNumber | None = None
    end_line: LineNumber | None = None
    with_line_numbers: bool = False
    encoding: Literal["utf-8", "utf8", "base64"] = "utf-8"

    @property
    def is_range(self) -> bool:
        """Whether lines were asked for, not the whole file."""
        return self.start_line is not None or self.end_line is not None

    @property
    def form(self) -> Literal["text", "numbered", "base64"]:
        """How the content is answered."""
        if self.is_base64:
            return "base64"
        return "numbered" if self.with_line_numbers else "text"

    @property
    def is_base64(self) -> bool:
        """Whether bytes were asked for, not text."""
        return self.encoding == "base64"


def check_read(query: ReadQuery) -> ReadQuery:
    """`query` itself. Raises `Failure` (bad_request) for parameters that exclude each other."""
    start = query.start_line or 1
    if query.end_line is not None and query.end_line < start:
        raise Failure("bad_request", f"end_line: {query.end_line} is before start_line {start}")
    if query.is_base64 and (query.is_range or query.with_line_numbers):
        raise Failure(
            "bad_request",
            "encoding=base64 takes no start_line, end_line or with_line_numbers; "
            "give it alone, or GET /files/raw with a Range",
        )
    return query


class ContentHead(Struct, frozen=True, kw_only=True):
    """What is known before a byte is read."""

    path: str
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET
    extension: str | UnsetType = UNSET
    encoding: Literal["base64"] | UnsetType = UNSET


class ContentTail(Struct, frozen=True, kw_only=True):
    """What reading tells; its keys follow the content.

    `size` is the file's, in bytes. `lines` counts those in `content`, an unterminated last one
    too. Where lines were asked for, `start_line` and `end_line` are as asked, else 1 and the
    last line returned; with nothing returned and no `end_line` asked, it is `start_line` - 1,
    so that `lines` is always `end_line` - `start_line` + 1 there. `lossy` says that bytes which
    are not UTF-8 appear as U+FFFD. `hash` is the SHA-256 of a whole file.
    """

    size: int
    lines: int
    start_line: int | UnsetType = UNSET
    end_line: int | UnsetType = UNSET
    lossy: Literal[True] | UnsetType = UNSET
    hash: str | UnsetType = UNSET


class FileContent(ContentHead, frozen=True, kw_only=True):
    """The answer of `GET /files/read`, as published."""

    content: str
    size: int
    lines: int
    start_line: int | UnsetType = UNSET
    end_line: int | UnsetType = UNSET
    lossy: Literal[True] | UnsetType = UNSET
    hash: str | UnsetType = UNSET


def before_content(head: ContentHead) -> bytes:
    """The answer up to where the content begins."""
    return msgspec.json.encode(head)[:-1] + b',"content":"'


def after_content(tail: ContentTail) -> bytes:
    """The answer from where the content ends."""
    return b'",' + msgspec.json.encode(tail)[1:]

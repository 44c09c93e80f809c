"""Conditional reading: is what the client has still what is there?

Belongs here: the conditions of GET and HEAD, in the order of RFC 9110, section 13.2.2, and the
headers that tell a version. Banned here: conditions of changes, which look at contents, and
files. Source: wire contract, section 2, "Read" and "Raw".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

from hutch.wire.errors import Failure
from hutch.wire.etag import etag_of, parse_tags

Headers = tuple[tuple[bytes, bytes], ...]

# The years 1 to 9999, which is all that an HTTP date can write.
_FIRST: Final = -62_135_596_800
_LAST: Final = 253_402_300_799
_REVALIDATE: Final = (b"cache-control", b"private, no-cache")


@dataclass(frozen=True, slots=True)
class Version:
    """A file in one state: its quoted ETag, and when it was changed, in whole seconds."""

    etag: bytes
    modified: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Version:
        """The version that `fstat` tells."""
        return cls(etag_of(stat), stat.st_mtime_ns // 10**9)


def version_headers(version: Version | None) -> Headers:
    """`ETag`, `Last-Modified`, and that it must be asked for anew each time.

    A file without a version is one whose content is made while it is read.
    """
    if version is None:
        return (_REVALIDATE,)
    date = formatdate(min(max(version.modified, _FIRST), _LAST), usegmt=True).encode("ascii")
    return ((b"etag", version.etag), (b"last-modified", date), _REVALIDATE)


def is_unchanged(version: Version | None, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the answer is 304. Raises `Failure`: precondition_failed, bad_request."""
    if version is None:
        return False
    _demand_match(version, headers)
    tags = headers.get(b"if-none-match")
    if tags is not None:
        return _matches(version, tags, name="If-None-Match")
    since = _date(headers.get(b"if-modified-since"))
    return since is not None and version.modified <= since


def holds_range(version: Version | None, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a `Range` counts: `If-Range` names this very version, or is not there."""
    condition = headers.get(b"if-range")
    if condition is None or version is None:
        return condition is None
    return condition.strip() == version.etag or _date(condition) == version.modified


def _demand_match(version: Version, headers: Mapping[bytes, bytes]) -> None:
    tags = headers.get(b"if-match")
    if tags is not None:
        if not _matches(version, tags, name="If-Match"):
            raise Failure("precondition_failed", "If-Match: it is another by now")
        return
    since = _date(headers.get(b"if-unmodified-since"))
    if since is not None and version.modified > since:
        raise Failure("precondition_failed", "If-Unmodified-Since: the file was changed later")


def _matches(version: Version, tags: bytes, *, name: str) -> bool:
    return not parse_tags(tags, name=name).isdisjoint({b"*", version.etag.strip(b'"')})


def _date(value: bytes | None) -> int | None:
    # A date that cannot be read is ignored (RFC 9110, sections 13.1.3 to 13.1.5).
    if value is None:
        return None
    try:
        return int(parsedate_to_datetime(value.decode("ascii")).timestamp())
    except (ValueError, OverflowError):
        return None

"""ETags and preconditions on the wire.

Belongs here: making an ETag, reading `If-Match`, `If-None-Match` and `expected_hash`.
Banned here: looking at files. Source: wire contract, section 2, "Read" and "Write"; RFC 9110,
sections 8.8.3 and 13.1.
"""

from __future__ import annotations

import os
import re
from typing import Final

from hutch.wire.errors import Failure
from hutch.wire.paths import shorten

_TAG: Final = re.compile(rb'\s*(?:W/)?("[^"]*"|[0-9a-fA-F]{64}|\*)\s*(?:,|$)')
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def etag_of(stat: os.stat_result) -> bytes:
    """The ETag of a file in this state, quoted: inode, size, mtime and ctime in ns."""
    return etag_from((stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


def etag_from(status: tuple[int, int, int, int]) -> bytes:
    """The same from the four numbers."""
    return b'"%x-%x-%x-%x"' % status


def parse_tags(value: bytes, *, name: str) -> frozenset[bytes]:
    """The tags of an `If-Match` or `If-None-Match`, without quotes; `*` stands for itself.

    A SHA-256 is taken with or without quotes. Weak tags count as their strong twins: ours are
    all strong. Raises `Failure` (bad_request) naming the header.
    """
    found: set[bytes] = set()
    at = 0
    while at < len(value):
        match = _TAG.match(value, at)
        if match is None:
            shown = shorten(value.decode("latin-1"))
            raise Failure("bad_request", f'{name}: {shown}; give "*" or quoted tags')
        tag = match[1].strip(b'"')
        found.add(tag.lower() if len(tag) == 64 else tag)  # noqa: PLR2004  # hex digits of SHA-256
        at = match.end()
    if not found:
        raise Failure("bad_request", f'{name}: empty; give "*" or quoted tags')
    return frozenset(found)


def parse_hash(text: str, *, name: str) -> str:
    """A SHA-256 in hex, lower case. Raises `Failure` (bad_request) naming the parameter."""
    lower = text.lower()
    if not _HASH.fullmatch(lower):
        raise Failure("bad_request", f"{name}: not a SHA-256 in hex: {shorten(text)}")
    return lower

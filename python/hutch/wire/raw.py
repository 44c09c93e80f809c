"""A file's exact bytes on the wire: what may be asked, and which part of them.

Belongs here: `RawQuery` and byte ranges. Banned here: files, and bodies.
Source: wire contract, section 2, "Raw"; RFC 9110, section 14.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath, shorten

_RANGE: Final = re.compile(rb"\s*bytes\s*=[\s,]*(\d*)-(\d*)[\s,]*", re.IGNORECASE)
_MOST_DIGITS: Final = 19


class RawQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /files/raw`."""

    path: AbsolutePath


def parse_range(value: bytes, size: int) -> range | None:
    """The bytes that a `Range` asks for of a file of `size` bytes; None means the whole.

    What is malformed, of another unit, or asks for several parts is ignored, as RFC 9110
    allows. Raises `Failure` (range_not_satisfiable) with `Content-Range`.
    """
    match = _RANGE.fullmatch(value)
    if match is None or match[1] == match[2] == b"":
        return None
    if not match[1]:
        return _suffix(_number(match[2]), size)
    first = _number(match[1])
    last = _number(match[2]) if match[2] else max(first, size)
    if last < first:
        return None
    return range(first, min(last + 1, size)) if first < size else _refuse(value, size)


def _number(digits: bytes) -> int:
    # What is longer lies beyond every file; `int` refuses thousands of digits.
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _suffix(length: int, size: int) -> range | None:
    if length == 0:
        return _refuse(b"bytes=-0", size)
    # No Content-Range can say "all of nothing".
    return range(max(size - length, 0), size) if size else None


def _refuse(value: bytes, size: int) -> range:
    raise Failure(
        "range_not_satisfiable",
        f"Range: {shorten(value.decode('latin-1'))}; the file has {size} bytes",
        headers=((b"content-range", b"bytes */%d" % size),),
    )

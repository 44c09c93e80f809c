"""What all changes to files share on the wire: modes, and the conditions they are made on.

Belongs here: `Condition` and the parsing of both. Banned here: looking at files, and the
conditions of reading (`conditions`), which content never enters.
Source: wire contract, section 2, "Write"; RFC 9110, section 13.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hutch.wire.errors import Failure
from hutch.wire.etag import parse_hash, parse_tags
from hutch.wire.paths import shorten

_MODE: Final = re.compile(r"(?:0o?)?[0-7]{1,4}")
ANY: Final = b"*"


def parse_mode(text: str | None, *, name: str = "mode") -> int | None:
    """Permission bits from octal text such as "0644"; None where none were given.

    Raises `Failure` (bad_request) naming the parameter.
    """
    if text is None:
        return None
    if not _MODE.fullmatch(text):
        raise Failure(
            "bad_request",
            f'{name}: {shorten(text)}; give permissions in octal, such as "0644", up to "7777"',
        )
    return int(text.removeprefix("0o"), 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """On which state of a file a change is made; on any, where nothing is given.

    Tags stand without quotes. A SHA-256 may stand wherever an ETag may.
    """

    match: frozenset[bytes] | None = None
    none_match: frozenset[bytes] | None = None
    expected_hash: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether any state will do."""
        return self.match is None and self.none_match is None and self.expected_hash is None

    @property
    def is_new_only(self) -> bool:
        """Whether nothing may be there."""
        return self.none_match is not None and ANY in self.none_match

    @property
    def needs_file(self) -> bool:
        """Whether something must be there."""
        return self.match is not None or self.expected_hash is not None

    def refusal(self, tags: frozenset[bytes]) -> str | None:
        """What a file with these tags (its ETag, its SHA-256) fails; no tags: there is no file."""
        known = tags | {ANY} if tags else tags
        if self.expected_hash is not None and self.expected_hash.encode() not in known:
            return "expected_hash"
        if self.match is not None and not self.match & known:
            return "If-Match"
        if self.none_match is not None and self.none_match & known:
            return "If-None-Match"
        return None


def parse_condition(headers: Mapping[bytes, bytes], expected_hash: str | None) -> Condition:
    """The condition that a request states.

    Raises `Failure` (bad_request) naming the header or parameter.
    """
    match, none_match = headers.get(b"if-match"), headers.get(b"if-none-match")
    return Condition(
        match=None if match is None else parse_tags(match, name="If-Match"),
        none_match=None if none_match is None else parse_tags(none_match, name="If-None-Match"),
        expected_hash=None
        if expected_hash is None
        else parse_hash(expected_hash, name="expected_hash"),
    )

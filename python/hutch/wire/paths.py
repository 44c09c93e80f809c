"""Paths on the wire: absolute, bytes within, text with a `_b64` twin without.

Belongs here: checking and normalising what a client sent, showing what a client gets.
Banned here: touching the file system (a `..` behind a symlink stays lexical, as the contract
says). Source: wire contract, section 1, "paths" and "names that are not UTF-8".
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, NotRequired, TypedDict

import msgspec

from hutch.wire.errors import Failure

AbsolutePath = Annotated[
    bytes,
    msgspec.Meta(description="An absolute path.", extra={"wire": "path"}),
]
"""A normalised absolute path, as bytes. In a query or a body it is `<name>`, or `<name>_b64`."""

_SHOWN: Final = 200
_URL_SAFE: Final = {ord("-"): "+", ord("_"): "/"}


def shorten(value: str) -> str:
    """`value` for an error sentence: whole where it is short, else its beginning and length."""
    if len(value) <= _SHOWN:
        return repr(value)
    return f"{value[:_SHOWN]!r}... ({len(value)} characters)"


def display(path: bytes) -> str:
    """The path for a person or JSON: bytes that are not UTF-8 become U+FFFD."""
    return path.decode("utf-8", "replace")


def encode_b64(path: bytes) -> str | None:
    """The `path_b64` that goes beside `display(path)`; None where that one loses nothing."""
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return base64.urlsafe_b64encode(path).rstrip(b"=").decode("ascii")
    return None


class PathFields(TypedDict):
    """How an answer names a path."""

    path: str
    path_b64: NotRequired[str]


def path_fields(path: bytes) -> PathFields:
    """`path`, and `path_b64` beside it where that one loses something."""
    encoded = encode_b64(path)
    if encoded is None:
        return {"path": display(path)}
    return {"path": display(path), "path_b64": encoded}


def decode_b64(text: str, *, name: str) -> bytes:
    """The bytes of a base64 parameter: either alphabet, padded or not.

    Raises `Failure` (bad_request) naming the parameter.
    """
    try:
        raw = text.translate(_URL_SAFE).rstrip("=").encode("ascii")
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Failure(
            "bad_request", f"{name}: not base64 (URL-safe or standard): {shorten(text)}"
        ) from None


def normalise(path: bytes, *, name: str = "path") -> bytes:
    """The absolute path without `..`, `.`, doubled or trailing slashes.

    Raises `Failure` (bad_request) for an empty or relative path, one that begins with `~`, or
    one with NUL in it.
    """
    if not path:
        raise Failure("bad_request", f"{name}: empty; give an absolute path such as /app")
    if b"\0" in path:
        raise Failure("bad_request", f"{name}: has a NUL byte in it: {shorten(display(path))}")
    if path.startswith(b"~"):
        raise Failure(
            "bad_request",
            f"{name}: '~' is not expanded; give an absolute path: {shorten(display(path))}",
        )
    if not path.startswith(b"/"):
        raise Failure(
            "bad_request", f"{name}: relative; give an absolute path: {shorten(display(path))}"
        )
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)


def from_text(text: str, *, name: str = "path") -> bytes:
    """`normalise` of a path that came as text. Raises `Failure` (bad_request)."""
    try:
        return normalise(text.encode("utf-8"), name=name)
    except UnicodeEncodeError:
        raise Failure(
            "bad_request", f"{name}: not valid Unicode; give {name}_b64 instead: {shorten(text)}"
        ) from None


def from_b64(text: str, *, name: str) -> bytes:
    """`normalise` of a path that came as base64. Raises `Failure` (bad_request)."""
    return normalise(decode_b64(text, name=name), name=name)

"""Search on the wire: what may be asked, and the shapes of the answers.

Belongs here: the queries of both modes, the answers as the published schema (the bytes of
`results` and of `files` are made by the extension, finished), and the fields around `results`.
Banned here: running anything. Source: wire contract, section 3; reference, "Search".

`errors` and `warnings` hold at most a thousand each, and `errors_truncated` says where that was
too few. `capped_by` says which bound was met:
`max_results`, or `size` where the answer would have become too large to hold; the stream has
no such bound.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath, PathFields, display, encode_b64, path_fields, shorten
from hutch.wire.walk import Text, WalkError, WalkWarning

MOST_TOLD: Final = 1000

# An extension has no dot, no blank, and nothing that means something to a shell's globs.
_EXTENSION: Final = re.compile(r"\.?[\w+#~$@=-]{1,64}", re.ASCII)

Query = Annotated[str, Meta(min_length=1, max_length=1000)]
MaxResults = Annotated[int, Meta(ge=1, le=1_000_000)]
Timeout = Annotated[int, Meta(ge=1, le=60)]
Patterns = Annotated[list[Text], Meta(max_length=10_000)]


class ContentQuery(Struct, frozen=True, kw_only=True):
    """What both content searches take."""

    q: Query
    path: AbsolutePath = b"/"
    case_sensitive: bool = False
    regex: bool = False
    whole_word: bool = False
    context_lines: Annotated[int, Meta(ge=0, le=10)] = 0
    file_types: Annotated[list[Text], Meta(max_length=100)] = []
    include_hidden: bool = False
    no_gitignore: bool = False
    ignore_patterns: Patterns = []


class SearchQuery(ContentQuery, frozen=True, kw_only=True):
    """The parameters of `GET /files/search`; `timeout` in seconds."""

    max_results: MaxResults = 100
    timeout: Timeout = 10


class SearchStreamQuery(ContentQuery, frozen=True, kw_only=True):
    """The parameters of `GET /files/search/stream`: no cap and no end unless they are given."""

    max_results: MaxResults | None = None
    timeout: Timeout | None = None


class FindQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /files/search/files`."""

    q: Query
    path: AbsolutePath = b"/"
    case_sensitive: bool = False
    fuzzy: bool = False
    include_hidden: bool = False
    no_gitignore: bool = False
    max_results: MaxResults = 200
    ignore_patterns: Patterns = []


class InstallQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `POST /files/search/init`, all with a default."""

    version: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    sha256: Annotated[str, Meta(min_length=64, max_length=64)] | None = None


class Match(Struct, frozen=True, kw_only=True):
    """One matching line. `column` is that of the first match in it, 1-based, in bytes."""

    line: int
    column: int
    text: str
    text_truncated: bool | UnsetType = UNSET
    context_truncated: bool | UnsetType = UNSET
    lossy: bool | UnsetType = UNSET
    before: list[str] | UnsetType = UNSET
    after: list[str] | UnsetType = UNSET
    path_b64: str | UnsetType = UNSET


class FlatMatch(Struct, frozen=True, kw_only=True):
    """One matching line in the flat list."""

    path: str
    line_number: int
    text: str
    path_b64: str | UnsetType = UNSET


class SearchAnswer(Struct, frozen=True, kw_only=True):
    """The answer of `GET /files/search`."""

    query: str
    path: str
    base: str
    results: dict[str, list[Match]]
    total_matches: int
    total_files: int
    capped: bool
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET
    base_b64: str | UnsetType = UNSET
    matches: list[FlatMatch] | UnsetType = UNSET
    capped_by: Literal["max_results", "size"] | UnsetType = UNSET
    errors_truncated: bool | UnsetType = UNSET
    errors: list[WalkError] | UnsetType = UNSET
    warnings: list[WalkWarning] | UnsetType = UNSET


class FindAnswer(Struct, frozen=True, kw_only=True):
    """The answer of `GET /files/search/files`.

    `total_files` counts all that match; `files` holds the best of them. `files_b64` is there
    where a path is not UTF-8, and then holds every path of `files`, in its order.
    """

    query: str
    path: str
    files: list[str]
    total_files: int
    capped: bool
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET
    files_b64: list[str] | UnsetType = UNSET
    errors_truncated: bool | UnsetType = UNSET
    errors: list[WalkError] | UnsetType = UNSET
    warnings: list[WalkWarning] | UnsetType = UNSET


class InstallProgress(Struct, frozen=True, kw_only=True):
    """An installation under way. `total_bytes` where the other side tells it."""

    version: str
    stage: Literal["downloading", "verifying", "installing"]
    received_bytes: int
    total_bytes: int | UnsetType = UNSET


class RipgrepStatus(Struct, frozen=True, kw_only=True):
    """The answer of `GET` and `POST /files/search/init`."""

    installed: bool
    success: Literal[True] = True
    path: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    installing: InstallProgress | UnsetType = UNSET


class Summary(Struct, frozen=True, kw_only=True):
    """What a search came to."""

    total_matches: int
    total_files: int
    capped: bool
    capped_by: Literal["max_results", "size"] | UnsetType = UNSET
    errors_truncated: bool | UnsetType = UNSET


def check_search(query: ContentQuery) -> None:
    """Raises `Failure` (bad_request) for what no single field's type can refuse."""
    check_query(query.q)
    for one in query.file_types:
        if not _EXTENSION.fullmatch(one):
            raise Failure(
                "bad_request",
                f"file_types: not a file extension: {shorten(one)}; give a list such as go,js,py",
            )


def check_query(text: str) -> None:
    """Raises `Failure` (bad_request) where the text can be in no line."""
    if "\n" in text:
        raise Failure(
            "bad_request", f"q: has a line end in it: {shorten(text)}; one line is looked at"
        )


def told(path: bytes, key: Literal["error", "message"], words: str) -> dict[str, object]:
    """An error or a warning about a path."""
    return {**path_fields(path), key: words}


def before_results(query: ContentQuery, base: bytes) -> bytes:
    """The answer's beginning, up to where `"results":` follows."""
    fields: dict[str, object] = {"success": True, "query": query.q, **path_fields(query.path)}
    fields |= _base_fields(base)
    return msgspec.json.encode(fields)[:-1] + b","


def after_results(summary: Summary, errors: list[Any], warnings: list[Any]) -> bytes:
    """The answer's end, from the comma behind what stands around `results`."""
    fields: dict[str, object] = msgspec.to_builtins(summary)
    if errors:
        fields["errors"] = errors
    if warnings:
        fields["warnings"] = warnings
    return b"," + msgspec.json.encode(fields)[1:]


def start_line(query: ContentQuery, base: bytes) -> bytes:
    """The first line of a stream."""
    return event_line("start", {**path_fields(query.path), **_base_fields(base)})


def event_line(event: str, fields: PathFields | dict[str, Any]) -> bytes:
    """A line of a stream that is no match."""
    return msgspec.json.encode({"event": event, **fields}) + b"\n"


def done_line(summary: Summary, *, elapsed_ms: int) -> bytes:
    """The last line of a stream."""
    return event_line("done", {**msgspec.to_builtins(summary), "elapsed_ms": elapsed_ms})


def _base_fields(base: bytes) -> dict[str, str]:
    encoded = encode_b64(base)
    return {"base": display(base)} | ({} if encoded is None else {"base_b64": encoded})

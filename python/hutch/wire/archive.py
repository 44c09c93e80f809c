"""Archives on the wire: what may be downloaded, what an upload takes and answers.

Belongs here: the requests, the answer, and the names that paths get in an archive. Banned
here: files, and the format of archives (`hutch-core`).
Source: wire contract, section 2, "Transfer".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from hutch.wire import paths
from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath, display, shorten

# As many as a command line has room for.
_MOST_PATHS: Final = 10_000
_MOST_PATTERNS: Final = 10_000

Root = tuple[bytes, bytes]
"""A path, and its name in the archive: empty for the archive's top."""


class DownloadBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /files/transfer/download`.

    `/app/src` is stored as `src`, or, with `base`, by its path relative to that. Patterns are
    gitignore-style globs: one without a slash matches names at any depth, one with a slash
    the path relative to one of `paths`, or the name in the archive. `level` is gzip's; 0 does
    not compress.

    What is not in the archive as it was is told at its end: the trailer fields
    `X-Hutch-Skipped` and `X-Hutch-Changed` count entries that were left out and files that
    changed while they were read, and where either is not 0 the archive's last member, a
    directory stored once more, has a PAX record `comment` with JSON:
    `{"skipped": [{"path", "reason"}], "skipped_total", "changed": [...], "changed_total"}`.
    Where no directory was asked for, the last member is a file `.hutch-transfer.json` instead.
    """

    paths: list[str] = []
    paths_b64: list[str] = []
    exclude_patterns: list[str] = []
    base: AbsolutePath | None = None
    level: Annotated[int, Meta(ge=0, le=9)] = 1


class UploadQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `POST /files/transfer/upload`; the body is a tar.gz.

    `dest` is made where it is missing. New files belong to the server's user, and one that
    replaces another to that one's owner; `owner=archive` takes the archive's numbers, as root
    only. Set-user-id and set-group-id bits are dropped. Nothing in the archive is followed:
    neither its own symlinks nor those in `dest`. A file appears whole, in place of the one that
    was there; an upload that fails has changed what its answer counts. The answer comes when all of
    it is on the disk; `sync=false` answers before, for what can be sent again.
    """

    dest: AbsolutePath
    owner: Literal["server", "archive"] = "server"
    sync: bool = True


class Skipped(Struct, frozen=True, kw_only=True):
    """What of an archive was not kept; `path` is relative to `dest`."""

    path: str
    reason: str
    path_b64: str | UnsetType = UNSET


class Extracted(Struct, frozen=True, kw_only=True):
    """The answer of an upload.

    `files_extracted` counts files, symlinks and hard links, `directories` those that were made,
    `bytes` is the content of files. `skipped_total` is there where `skipped` names not all.
    """

    dest: str
    files_extracted: int
    directories: int
    bytes: int
    skipped: list[Skipped]
    success: Literal[True] = True
    dest_b64: str | UnsetType = UNSET
    skipped_total: int | UnsetType = UNSET


def roots_of(asked: DownloadBody) -> list[Root]:
    """What to pack under which name, in the order asked for.

    Raises `Failure` (bad_request) for no path at all, a relative one, one outside of `base`,
    and two that would have one name.
    """
    given = [*_parsed(asked)]
    if not given:
        raise Failure("bad_request", "paths: missing; give a list of absolute paths")
    if len(given) > _MOST_PATHS:
        raise Failure("bad_request", f"paths: {len(given)}; at most {_MOST_PATHS} are taken")
    found: dict[bytes, bytes] = {}
    for path in given:
        name = _name(path, asked.base)
        if name in found:
            raise _doubled(found[name], path, name)
        found[name] = path
    return [(path, name) for name, path in found.items()]


def patterns_of(asked: DownloadBody) -> list[bytes]:
    """The patterns as bytes. Raises `Failure` (bad_request)."""
    if len(asked.exclude_patterns) > _MOST_PATTERNS:
        count = len(asked.exclude_patterns)
        raise Failure(
            "bad_request", f"exclude_patterns: {count}; at most {_MOST_PATTERNS} are taken"
        )
    try:
        return [one.encode() for one in asked.exclude_patterns]
    except UnicodeEncodeError as error:
        shown = shorten(str(error.object))
        raise Failure("bad_request", f"exclude_patterns: not valid Unicode: {shown}") from None


def _parsed(asked: DownloadBody) -> Iterator[bytes]:
    for text in asked.paths:
        yield paths.from_text(text, name="paths")
    for text in asked.paths_b64:
        yield paths.from_b64(text, name="paths_b64")


def _name(path: bytes, base: bytes | None) -> bytes:
    if base is None:
        return path.rpartition(b"/")[2]
    top = base.rstrip(b"/") + b"/"
    if path != base and not path.startswith(top):
        raise Failure(
            "bad_request", f"paths: {shorten(display(path))} does not lie in base {display(base)}"
        )
    return path[len(top) :]


def _doubled(first: bytes, second: bytes, name: bytes) -> Failure:
    shown = f"{shorten(display(first))} and {shorten(display(second))}"
    if first == second:
        return Failure("bad_request", f"paths: {shorten(display(first))} is given twice")
    return Failure(
        "bad_request",
        f"paths: {shown} would both be stored as {shorten(display(name))}; "
        'give a base, such as "base":"/", to store them by their whole paths',
    )

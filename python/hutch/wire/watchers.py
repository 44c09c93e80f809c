"""Watchers on the wire: what may be asked, what a watcher is, the frames that sockets carry.

Belongs here: the requests and answers of `/watchers`, the defaults that are always excluded, the
frames of the channel `watcher` that Python makes (`change` comes finished from the extension).
Banned here: I/O.
Source: wire contract, sections 6 and 7; reference, "File Watcher".
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath, display, encode_b64

# Reference, "Default excludes".
EXCLUDES: Final = (
    "node_modules", ".git", ".svn", ".hg", "__pycache__", ".pytest_cache", ".mypy_cache", ".next",
    ".nuxt", "dist", "build", ".DS_Store", "*.swp", "*.swo", "*~",
)  # fmt: skip

_MOST_EXCLUDES: Final = 1000
_MOST_NUMBER: Final = 2**53
_HOUR: Final = 3600

Excludes = Annotated[list[str], Meta(max_length=_MOST_EXCLUDES)]


class WatchBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /watchers`. `root` and `exclude` are other names of `path` and `excludes`.

    `excludes` join the defaults; one that begins with `!` takes an earlier one back.
    """

    path: AbsolutePath | None = None
    root: AbsolutePath | None = None
    excludes: Excludes | None = None
    exclude: Excludes | None = None
    use_gitignore: bool = False

    @property
    def place(self) -> bytes:
        """The directory to watch. Raises `Failure` (bad_request)."""
        place = self.path if self.path is not None else self.root
        if place is None:
            raise Failure("bad_request", "path: missing; this request needs it")
        return place

    @property
    def patterns(self) -> list[str]:
        """What is excluded, the defaults first, nothing twice."""
        own = self.excludes if self.excludes is not None else self.exclude
        return list(dict.fromkeys((*EXCLUDES, *(own or ()))))


class WatcherFacts(Struct, frozen=True, kw_only=True):
    """A watcher. `seq` is the number of its last event; `incomplete` that it does not cover its
    tree, and `incomplete_reason` why.
    """

    id: str
    root: str
    dirs: int
    dir_count: int
    excludes: list[str]
    use_gitignore: bool
    active: bool
    incomplete: bool
    seq: int
    root_b64: str | UnsetType = UNSET
    incomplete_reason: str | UnsetType = UNSET


class Watcher(WatcherFacts, frozen=True, kw_only=True):
    """The answer of `POST /watchers` and `GET /watchers/{id}`: the facts, and once more within."""

    watcher: WatcherFacts
    success: Literal[True] = True


class WatcherList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /watchers`."""

    watchers: list[WatcherFacts]
    success: Literal[True] = True


class WatcherDeleted(Struct, frozen=True, kw_only=True):
    """The answer of `DELETE /watchers/{id}`."""

    success: Literal[True] = True


class ChangesQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /watchers/{id}/changes`: after which event, and how many seconds to
    wait for one.
    """

    since: Annotated[int, Meta(ge=0, le=_MOST_NUMBER)]
    wait: Annotated[int, Meta(ge=0, le=_HOUR)] = 0


class Change(Struct, frozen=True, kw_only=True):
    """One event of a watcher."""

    path: str
    op: Literal["create", "write", "remove", "rename"]
    seq: int
    path_b64: str | UnsetType = UNSET


class Changes(Struct, frozen=True, kw_only=True):
    """The answer of `GET /watchers/{id}/changes`. Its bytes are put together from finished ones.

    `seq` is what to ask with next. `more`: ask again at once. `fresh`: what came after `since` is
    not known any more, or was lost; list the directory, and go on from `seq`.
    """

    fresh: bool
    active: bool
    seq: int
    more: bool
    changes: list[Change]
    success: Literal[True] = True


def watcher_answer(facts: WatcherFacts) -> Watcher:
    """The facts flat and within."""
    fields = {name: getattr(facts, name) for name in WatcherFacts.__struct_fields__}
    return Watcher(watcher=facts, **fields)


def root_fields(root: bytes) -> dict[str, Any]:
    """`root`, and `root_b64` beside it where that one loses something."""
    encoded = encode_b64(root)
    return {"root": display(root)} | ({} if encoded is None else {"root_b64": encoded})


def changes_bytes(*, fresh: bool, active: bool, seq: int, more: bool, events: bytes) -> bytes:
    """A finished `Changes`; `events` are finished `Change` objects, with commas between them."""
    facts = {"success": True, "fresh": fresh, "active": active, "seq": seq, "more": more}
    return msgspec.json.encode(facts)[:-1] + b',"changes":[' + events + b"]}"


def ready_frame(facts: WatcherFacts) -> bytes:
    """The frame that tells that a watcher is there and has read its tree."""
    frame: dict[str, object] = {
        "channel": "watcher",
        "type": "ready",
        "watcher_id": facts.id,
        "root": facts.root,
        "dirs": facts.dirs,
        "seq": facts.seq,
        "incomplete": facts.incomplete,
    }
    if facts.root_b64 is not UNSET:
        frame["root_b64"] = facts.root_b64
    if facts.incomplete_reason is not UNSET:
        frame["incomplete_reason"] = facts.incomplete_reason
    return msgspec.json.encode(frame)


# As the reference words it.
OVERFLOW: Final = "Event queue overflow, some events may have been lost"


def overflow_frame(watcher_id: str, seq: int) -> bytes:
    """The frame that tells one listener that it did not get all events up to `seq`."""
    frame = {
        "channel": "watcher",
        "type": "overflow",
        "watcher_id": watcher_id,
        "message": OVERFLOW,
        "seq": seq,
    }
    return msgspec.json.encode(frame)

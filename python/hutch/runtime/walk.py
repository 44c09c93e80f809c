"""Listing directories: a `WalkQuery` in, batches of finished bytes out.

Belongs here: opening the extension's walk and waiting for its batches. Banned here: looking
into the bytes. Source: wire contract, section 2, "List and stream".
"""

from __future__ import annotations

from typing import Literal

import trio

from hutch import _native
from hutch.wire.config import Limits
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.walk import WalkQuery

Form = Literal["stream", "children", "flat", "tree"]


class Totals:
    """What all listings together did, those under way included."""

    def __init__(self) -> None:
        self.under_way: set[Walk] = set()
        self._entries = self._bytes = 0

    def counts(self) -> tuple[int, int]:
        """Entries and bytes so far."""
        told = [one.statistics() for one in self.under_way]
        entries = self._entries + sum(one.entries for one in told)
        return entries, self._bytes + sum(one.bytes for one in told)

    def end(self, walk: Walk) -> None:
        """Counts a walk for the last time."""
        told = walk.statistics()
        self.under_way.discard(walk)
        self._entries += told.entries
        self._bytes += told.bytes


class Walk:
    """A walk in progress: a `Source` of batches.

    The eventfd stays open until `stop`, which any owner may call at any time, more than once.
    """

    def __init__(self, native: _native.Walk, totals: Totals | None = None) -> None:
        self._native = native
        self._totals = totals
        if totals is not None:
            totals.under_way.add(self)
        self._descriptor = native.fileno()
        self._stopped = False

    async def pull(self) -> memoryview | None:
        """The next batch; None when the walk is complete.

        In a stream it is whole lines, or a part of a line that holds a larger text.

        Raises `Failure`: not_found, forbidden, bad_request (no directory, a malformed glob)
        for a root that cannot be listed, which the first batch tells; internal where the walk
        cannot be completed.
        """
        while True:
            try:
                batch = self._native.try_next()
            except OSError as error:
                raise from_os_error(error) from error
            except ValueError as error:
                raise Failure("bad_request", f"ignore_patterns: {error}") from error
            except RuntimeError as error:
                raise Failure("internal", f"the listing broke off: {error}") from error
            if batch is not None:
                return batch or None
            await trio.lowlevel.wait_readable(self._descriptor)

    def stop(self) -> None:
        """Ends the walk and frees what it held."""
        if self._stopped:
            return
        self._stopped = True
        # Before the descriptor closes, or epoll would go on waiting for a number that the
        # next open file reuses.
        trio.lowlevel.notify_closing(self._descriptor)
        if self._totals is not None:
            self._totals.end(self)
        self._native.stop()

    def statistics(self) -> _native.WalkStatistics:
        """Counts of what the walk did: entries, opens, stats, batches, bytes."""
        return self._native.statistics()


def form_of(query: WalkQuery) -> Form:
    """Which of the three list answers the query asks for."""
    if query.flatten and query.nested:
        return "flat"
    return "tree" if query.nested else "children"


class Walks:
    """The service that opens walks."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.totals = Totals()

    def open(self, query: WalkQuery, form: Form) -> Walk:
        """A walk under way. Its first batch tells whether there is anything to list."""
        return Walk(
            _native.Walk(
                query.path,
                form=form,
                light=query.light,
                include_hash=query.include_hash,
                include_content=query.include_content,
                include_extensions=query.include_extensions,
                code_files_only=query.code_files_only,
                use_gitignore=query.use_gitignore,
                max_depth=query.max_depth,
                path_filter=query.path_filter,
                include_ext=query.include_ext,
                ignore_patterns=[one.encode() for one in query.ignore_patterns],
                max_content_budget=query.max_content_budget,
                content_limit=self._limits.content_bytes,
                entry_limit=self._limits.listing_entries,
            ),
            self.totals,
        )

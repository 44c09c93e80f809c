"""Filename search: a query in, batches of a finished answer out.

Belongs here: opening the extension's search. Banned here: what is better (the extension ranks).
Source: wire contract, section 3, "Filename search".
"""

from __future__ import annotations

from hutch import _native
from hutch.runtime.walk import Walk
from hutch.wire.search import FindQuery, check_query


class Finds:
    """The service that finds files by name."""

    def open(self, query: FindQuery) -> Walk:
        """A search under way. Its first batch tells whether there is anything to search.

        Raises `Failure` (bad_request).
        """
        check_query(query.q)
        return Walk(
            _native.find(
                query.path,
                query=query.q,
                case_sensitive=query.case_sensitive,
                fuzzy=query.fuzzy,
                max_results=query.max_results,
                include_hidden=query.include_hidden,
                use_gitignore=not query.no_gitignore,
                ignore_patterns=[one.encode() for one in query.ignore_patterns],
            )
        )

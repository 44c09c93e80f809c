"""The table of routes: what each resource module exports, and how a path finds its row.

Belongs here: `Route`, `Call`, `Answer`, `Table`. Banned here: handlers, and knowledge of any
one endpoint. 405, `Allow`, HEAD, the auth matrix test, OpenAPI and metrics read this table.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from msgspec import Struct

from hutch.routing.sockets import Socket
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure

Q_co = TypeVar("Q_co", covariant=True)

Kind = Literal["json", "stream", "socket", "passed"]
# The method of a row that takes every method, and WebSockets too.
ANY: Final = "ANY"


@dataclass(frozen=True, slots=True)
class Call(Generic[Q_co]):
    """One request, parsed: `asked` is the route's shape, complete and checked."""

    asked: Q_co
    params: Mapping[str, str]
    headers: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer with a status or headers of its own."""

    value: Struct | None
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


# The first argument is what the application's handlers work with: the runtime, say.
JsonHandler = Callable[[Any, Call[Any]], Awaitable[Struct | Answer]]
StreamHandler = Callable[[Any, Call[Any], Exchange], Awaitable[None]]
SocketHandler = Callable[[Any, Call[Any], Socket], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row: a method on a path.

    `kind` json: the handler returns the answer, Quart-Trio carries it. `kind` stream: the
    handler answers by itself through `hutch.server.streaming`, on raw ASGI. `kind` socket: a
    WebSocket, carried by Quart-Trio too; its method is GET, and without an upgrade it is 400.
    `kind` passed: the request is another server's to answer; the handler gets HTTP and WebSockets
    alike, on raw ASGI, by `method` ANY, and CORS is that server's business too.
    A `{name}` in `path` is one segment, a `{name...}` at its end whatever follows, slashes too.
    `shape` is parsed from `source`: the query, the JSON body, or either (a field of the body
    counts first). A stream route whose `source` is the query reads its body by itself.
    `other_statuses` carry the same answer as `status`.
    """

    method: Literal["GET", "POST", "PUT", "DELETE", "PATCH", "ANY"]
    path: str
    kind: Kind
    handler: JsonHandler | StreamHandler | SocketHandler
    summary: str
    shape: type[Struct] | None = None
    source: Literal["query", "body", "either"] = "query"
    answer: type[Struct] | None = None
    status: int = 200
    other_statuses: tuple[int, ...] = ()
    media_type: str = "application/json"
    request_media_type: str | None = None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What a path leads to: the routes by method, and what stood in its `{name}` parts."""

    path: str
    methods: Mapping[str, Route]
    params: Mapping[str, str]

    @property
    def allow(self) -> str:
        """The `Allow` header's value."""
        names = set(self.methods) | ({"HEAD"} if "GET" in self.methods else set())
        return ", ".join(sorted(names))

    def route(self, method: str) -> Route:
        """The row of a method; HEAD works where GET does.

        Raises `Failure` (method_not_allowed) with `Allow`.
        """
        route = self.passed or self.methods.get("GET" if method == "HEAD" else method)
        if route is None:
            raise Failure(
                "method_not_allowed",
                f"{method[:40]} is not possible on {self.path}; allowed: {self.allow}",
                headers=((b"allow", self.allow.encode("ascii")),),
            )
        return route

    def socket(self) -> Route:
        """The row of a WebSocket. Raises `Failure` (not_found) where there is none."""
        route = self.methods.get("GET")
        if route is None or route.kind != "socket":
            raise Failure("not_found", f"no such endpoint: {self.path} takes no WebSocket")
        return route

    @property
    def passed(self) -> Route | None:
        """The row that takes every method, and WebSockets too."""
        return self.methods.get(ANY)

    def is_open(self, scope: Mapping[str, Any]) -> bool:
        """Whether the request needs no token."""
        method = scope.get("method")
        route = self.methods.get("GET" if method == "HEAD" else str(method))
        return scope["type"] == "http" and route is not None and route.is_open


@dataclass(frozen=True, slots=True)
class _Pattern:
    path: str
    regex: re.Pattern[str]
    methods: Mapping[str, Route]


@dataclass(frozen=True, slots=True)
class Table:
    """All routes of an application."""

    routes: tuple[Route, ...]
    _fixed: Mapping[str, Mapping[str, Route]] = field(init=False, repr=False)
    _patterns: tuple[_Pattern, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        places: dict[str, dict[str, Route]] = {}
        for route in self.routes:
            methods = places.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            methods[route.method] = route
            if ANY in methods and len(methods) > 1:
                raise ValueError(f"{route.path}: a row for every method, and others")
        fixed = {path: methods for path, methods in places.items() if "{" not in path}
        patterns = tuple(
            _Pattern(path, _compile(path), methods)
            for path, methods in places.items()
            if "{" in path
        )
        object.__setattr__(self, "_fixed", fixed)
        object.__setattr__(self, "_patterns", patterns)

    def find(self, path: str) -> Place | None:
        """Where a decoded request path leads, or None."""
        methods = self._fixed.get(path)
        if methods is not None:
            return Place(path, methods, {})
        for pattern in self._patterns:
            match = pattern.regex.fullmatch(path)
            if match is not None:
                return Place(pattern.path, pattern.methods, match.groupdict())
        return None


def _compile(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+(?:\.\.\.)?)\}", path)
    return re.compile(
        "".join(
            re.escape(part) if index % 2 == 0 else _group(part) for index, part in enumerate(parts)
        ),
        re.DOTALL,
    )


def _group(name: str) -> str:
    rest = name.removesuffix("...")
    return f"(?P<{name}>[^/]+)" if rest == name else f"(?P<{rest}>.*)"

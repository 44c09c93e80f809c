"""Heads on their way through: what is hop by hop, and what a caller changes.

Belongs here: reading a head out of a scope, removing and making anew what concerns one connection
alone, editing lists of headers. Banned here: I/O; what a target or a token means.
Source: RFC 9110, sections 7.6.1 and 6.5.1; RFC 9112, section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol

import h11

from hutch.server.heads import REQUEST
from hutch.wire.errors import Failure

Headers = list[tuple[bytes, bytes]]

_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Named in `Connection` these stay all the same: without them a message is another message.
_ENDS: Final = frozenset({b"content-length", b"host"})
# What a server must not learn from a trailer (RFC 9110, section 6.5.1): framing, routing, whom.
_NO_TRAILER: Final = _HOP | _ENDS | {b"authorization", b"cookie", b"expect", b"trailer"}


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head. Names of headers are in the sender's case, in his order."""

    method: bytes
    target: bytes
    headers: Headers


class Edit(Protocol):
    """What a caller changes. Both get what is end to end alone; framing is made afterwards."""

    def request(self, head: Head) -> Head:
        """The head that the upstream gets; `Host` must be there exactly once."""
        ...

    def answer(self, status: int, headers: Headers) -> Headers:
        """The headers that the client gets. What it raises is raised, the answer dropped."""
        ...


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came, and what its own connection said about it."""

    head: Head
    is_chunked: bool
    has_body: bool
    expects_continue: bool
    takes_trailers: bool

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent twice: it changes nothing and has no body (RFC 9110, 9.2.1)."""
        return not self.has_body and self.head.method in _SAFE


_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})


def incoming(scope: Any) -> Incoming:
    """The request of a scope. Raises `Failure` (bad_request) for CONNECT and for absolute form."""
    head = _head(scope)
    if head.method == b"CONNECT":
        # An answer of 2xx to it has no end (RFC 9110, section 9.3.6), and h11 waits for none.
        raise Failure("bad_request", "CONNECT: no tunnels are made here but WebSockets")
    if b"://" in head.target.partition(b"/")[0] or not head.target.startswith((b"/", b"*")):
        raise Failure("bad_request", "request target: give a path that begins with /")
    sized = values(head.headers, b"content-length")
    is_chunked = bool(values(head.headers, b"transfer-encoding"))
    is_new = scope["http_version"] != "1.0"
    return Incoming(
        head=Head(head.method, head.target, end_to_end(head.headers)),
        is_chunked=is_chunked,
        has_body=is_chunked or any(one.strip(b"0") for one in sized),
        expects_continue=is_new and b"100-continue" in listed(head.headers, b"expect"),
        takes_trailers=is_new and b"trailers" in listed(head.headers, b"te"),
    )


def _head(scope: Any) -> Head:
    request: h11.Request | None = scope.get("extensions", {}).get(REQUEST)
    if request is not None:
        return Head(request.method, request.target, request.headers.raw_items())
    # Another server's scope: the case of names is lost.
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    return Head(scope.get("method", "GET").encode("ascii"), target, list(scope["headers"]))


def end_to_end(headers: Headers) -> Headers:
    """Without what concerns one connection alone, `Connection`'s own list included."""
    drop = (_HOP | set(listed(headers, b"connection"))) - _ENDS
    return without(headers, drop)


def trailers(headers: Headers) -> Headers:
    """Those trailers that may be passed on."""
    return without(headers, _NO_TRAILER)


def listed(headers: Headers, name: bytes) -> list[bytes]:
    """The elements of a comma-separated header, in lower case."""
    found = b",".join(values(headers, name)).lower().split(b",")
    return [one.strip(b" \t") for one in found if one.strip(b" \t")]


def values(headers: Headers, name: bytes) -> list[bytes]:
    """The values of a header, `name` in lower case."""
    return [value for one, value in headers if one.lower() == name]


def without(headers: Headers, names: Collection[bytes]) -> Headers:
    """Without the headers of these names, in lower case."""
    return [(name, value) for name, value in headers if name.lower() not in names]


def replaced(headers: Headers, name: bytes, value: bytes) -> Headers:
    """With one header of that name: where the first was, else at the end."""
    found: Headers = []
    done = False
    for one, old in headers:
        if one.lower() != name.lower():
            found.append((one, old))
        elif not done:
            done = True
            found.append((one, value))
    return found if done else [*found, (name, value)]


def mapped(headers: Headers, name: bytes, change: Callable[[bytes], bytes]) -> Headers:
    """With every value of a header changed, `name` in lower case."""
    return [(one, change(value) if one.lower() == name else value) for one, value in headers]


def outgoing(asked: Incoming, edited: Head, *, keep: bool) -> h11.Request:
    """The request for the upstream, framed as it came. Raises `Failure` (bad_request)."""
    headers = end_to_end(edited.headers)
    options = [] if keep else [b"close"]
    if asked.is_chunked:
        headers = [*without(headers, {b"content-length"}), (b"Transfer-Encoding", b"chunked")]
    if asked.takes_trailers:
        headers.append((b"TE", b"trailers"))
        options.append(b"TE")
    if options:
        headers.append((b"Connection", b", ".join(options)))
    return _request(edited, headers)


def upgrading(edited: Head) -> h11.Request:
    """The handshake for the upstream: WebSocket's own headers pass as they are."""
    upgrade = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"))
    return _request(edited, [*end_to_end(edited.headers), *upgrade])


def _request(edited: Head, headers: Headers) -> h11.Request:
    try:
        return h11.Request(method=edited.method, target=edited.target, headers=headers)
    except h11.LocalProtocolError as error:
        raise Failure("bad_request", f"the request cannot be passed on: {error}") from None

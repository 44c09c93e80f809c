"""What changes in a request on its way to a workspace, and in the answer on its way back.

Belongs here: headers and the query, as bytes. Banned here: I/O, deciding who may go where.
Source: wire contract, section 10: the workspace never sees the gateway's token.

The order, the case and the bytes of everything else stay as they were sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hutch.forward import Head, Headers
from hutch.gateway.admission import Pass, is_below
from hutch.routing import cors
from hutch.wire.errors import Failure
from hutch.wire.shapes import split_pair

# Only the last one in a row of proxies can be believed, and that is the gateway.
_OVERWRITTEN: Final = frozenset({b"authorization", b"forwarded", b"x-real-ip", b"x-request-id"})
_FORWARDING: Final = b"x-forwarded-"
_OURS: Final = b'Bearer realm="hutch"'
_UNAUTHORIZED: Final = 401


class CredentialsRefused(Failure):
    """The workspace's own server did not take the raw token."""

    def __init__(self) -> None:
        super().__init__(
            "bad_gateway",
            "the workspace's server does not take the token on record; the request was not acted "
            "upon, try again",
            extra={"may_have_arrived": False},
        )


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a request came from, as the workspace is told."""

    address: bytes
    proto: bytes
    host: bytes


def peer(scope: Any, *, is_behind_proxy: bool) -> Peer:
    """The client and the scheme: the connection's, or what the proxy in front says of its own."""
    client = scope["client"]
    address = client[0].encode("ascii") if client else b"unknown"
    proto = b"https" if scope["scheme"] in {"https", "wss"} else b"http"
    host = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif is_behind_proxy and name == b"x-forwarded-for":
            # The last one is the proxy's own word; those before it are the client's.
            address = value.rpartition(b",")[2].strip() or address
        elif is_behind_proxy and name == b"x-forwarded-proto" and value in {b"http", b"https"}:
            proto = value
    return Peer(address, proto, host)


class Passing:
    """The edit of one request (`hutch.forward.Edit`)."""

    def __init__(
        self,
        scope: Any,
        passed: Pass,
        peer: Peer,
        *,
        is_ours: Callable[[bytes], bool],
        cors: cors.Headers,
    ) -> None:
        self._passed = passed
        self._peer = peer
        self._is_ours = is_ours
        self._cors = cors
        self._request_id: bytes = scope["state"]["request_id"].encode("ascii")
        self._drops_origin = scope["type"] == "websocket" and not _keeps_origin(scope, peer)

    def request(self, head: Head) -> Head:
        """The head that the workspace gets."""
        raw = b"Bearer " + self._raw
        theirs = [value for name, value in head.headers if name.lower() == b"authorization"]
        # Behind `/proxy` the header may be an application's own: ours came in the query, and the
        # raw token takes its place there.
        is_in_query = bool(theirs) and self._passed.token not in theirs[0]
        headers = [(name, value) for name, value in head.headers if self._passes(name.lower())]
        headers += [
            (b"Authorization", theirs[0] if is_in_query else raw),
            (b"X-Forwarded-For", self._peer.address),
            (b"X-Forwarded-Proto", self._peer.proto),
            (b"X-Forwarded-Host", self._peer.host),
            (b"X-Request-ID", self._request_id),
        ]
        target = self._target(head.target, [b"token=" + self._raw] if is_in_query else [])
        return Head(head.method, target, headers)

    @property
    def _raw(self) -> bytes:
        return (self._passed.route.token or "").encode("ascii")

    def _passes(self, name: bytes) -> bool:
        if name == b"origin":
            return not self._drops_origin
        return name not in _OVERWRITTEN and not name.startswith(_FORWARDING)

    def _target(self, target: bytes, more: list[bytes]) -> bytes:
        """The target without parameters that hold a token of ours, whoever they were meant for."""
        path, mark, query = target.partition(b"?")
        if not query:
            return target
        kept = [pair for pair in query.split(b"&") if not self._holds_token(pair)] + more
        return path + mark + b"&".join(kept) if kept else path

    def _holds_token(self, pair: bytes) -> bool:
        name, value = split_pair(pair)
        if name != b"token":
            return False
        return value == self._passed.token or self._is_ours(value)

    def answer(self, status: int, headers: Headers) -> Headers:
        """The headers that the client gets. Raises `CredentialsRefused`."""
        names = {name.lower() for name, _ in headers}
        if status == _UNAUTHORIZED and _challenges(headers):
            raise CredentialsRefused()
        if b"access-control-allow-origin" in names:
            return headers  # an application's own
        return [*headers, *self._cors]


def _challenges(headers: Headers) -> bool:
    return any(name.lower() == b"www-authenticate" and value == _OURS for name, value in headers)


def _keeps_origin(scope: Any, peer: Peer) -> bool:
    """Whether a WebSocket's `Origin` is passed on: to applications, from pages of this very host.

    The gateway has judged by its own list; the workspace's server would judge again by its own.
    """
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if is_below(scope, "/ws") or len(origins) != 1:
        return False
    return bool(origins[0].lower().partition(b"://")[2] == peer.host.lower())

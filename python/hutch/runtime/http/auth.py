"""Who may ask: the bearer token, in front of everything but health and preflights.

Belongs here: the token in force, comparing it, ending what an old token opened. Banned here:
logging a token, or saying anything about a path to a caller without one.
Source: wire contract, section 1, "token" and "open to all".
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio

from hutch.wire.errors import Failure
from hutch.wire.shapes import split_pair
from hutch.wire.system import local_path

_WS: Final = "/ws"
_PROXY: Final = "/proxy"
_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="hutch"'),)
# Where the scope's state has the `Hold` of a request.
HOLD: Final = "hold"


class Hold:
    """What one request holds by its token: it is ended once that is not in force any more."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.cancel = trio.CancelScope()
        # Where set, it is called instead of cancelling: the request has an end of its own.
        self.softly: Callable[[], None] | None = None

    def is_ours(self, token: bytes) -> bool:
        """Whether it is the token in force, which belongs to nobody but this server."""
        return self._tokens.accepts(token)

    def end(self) -> None:
        """The token is not in force any more."""
        if self.softly is None:
            self.cancel.cancel()
        else:
            self.softly()


class Tokens:
    """The token in force, and the requests that it opened."""

    def __init__(self, token: str) -> None:
        self._token = token.encode("ascii")
        self._holds: set[Hold] = set()

    def accepts(self, token: bytes) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(token, self._token)

    def replace(self, token: str) -> bool:
        """Puts a new token in force and ends what the old one opened; False if it is the same."""
        if self.accepts(token.encode("ascii")):
            return False
        self._token = token.encode("ascii")
        for hold in tuple(self._holds):
            hold.end()
        return True

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        """Holds for as long as the token that opened it is in force.

        Raises `Failure` (unauthorized) where the token was replaced meanwhile, so that the
        connection is closed.
        """
        hold = Hold(self)
        with hold.cancel:
            self._holds.add(hold)
            try:
                yield hold
            finally:
                self._holds.discard(hold)
        if hold.cancel.cancelled_caught:
            raise Failure("unauthorized", "the token was replaced")


def bearer(value: bytes) -> bytes | None:
    """The token in an `Authorization` header's value, or None."""
    scheme, _, token = value.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


def _in_header(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    found = [value for name, value in headers if name == b"authorization"]
    return bearer(found[0]) if len(found) == 1 else None


def _takes_query_token(scope: Any) -> bool:
    if scope["type"] != "websocket":
        return False
    return _is_below(scope, _WS) or _is_below(scope, _PROXY)


def _is_below(scope: Any, place: str) -> bool:
    path = local_path(scope["path"])
    return path == place or path.startswith(f"{place}/")


def presented(scope: Any) -> list[bytes]:
    """The tokens that a request brings: one, or on a WebSocket as many as its query has too.

    Behind `/proxy` an `Authorization` header or a `token` may be the application's own.
    """
    found = [one for one in (_in_header(scope["headers"]),) if one is not None]
    if _takes_query_token(scope) and (not found or _is_below(scope, _PROXY)):
        pairs = map(split_pair, scope["query_string"].split(b"&"))
        found += [value for name, value in pairs if name == b"token"]
    return found


def brings_token(tokens: Tokens, scope: Any) -> bool:
    """Whether the request brings the token in force."""
    return any(tokens.accepts(one) for one in presented(scope))


def require_token(tokens: Tokens, scope: Any) -> None:
    """Raises `Failure` (unauthorized) unless the request brings the token in force."""
    found = presented(scope)
    if not found:
        raise Failure(
            "unauthorized",
            "no token; send the header 'Authorization: Bearer <token>'",
            headers=_CHALLENGE,
        )
    if not any(tokens.accepts(one) for one in found):
        raise Failure("unauthorized", "the token is not valid here", headers=_CHALLENGE)

"""Who may ask: the bearer token, in front of everything but health and preflights.

Belongs here: the token in force, comparing it, ending what an old token opened. Banned here:
logging a token, or saying anything about a path to a caller without one.
Source: wire contract, section 1, "token" and "open to all".
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio

from hutch.wire.errors import Failure
from hutch.wire.shapes import split_query

_QUERY_TOKEN_PREFIXES: Final = ("/ws", "/proxy")
_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="hutch"'),)
_LOCAL: Final = "/runtimes/local/"


class Tokens:
    """The token in force, and the scopes of the requests that it opened."""

    def __init__(self, token: str) -> None:
        self._token = token.encode("ascii")
        self._scopes: set[trio.CancelScope] = set()

    def accepts(self, token: bytes) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(token, self._token)

    def replace(self, token: str) -> bool:
        """Puts a new token in force and ends what the old one opened; False if it is the same."""
        if self.accepts(token.encode("ascii")):
            return False
        self._token = token.encode("ascii")
        for scope in tuple(self._scopes):
            scope.cancel()
        return True

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Holds for as long as the token that opened it is in force.

        Raises `Failure` (unauthorized) where the token was replaced meanwhile, so that the
        connection is closed.
        """
        with trio.CancelScope() as cancel:
            self._scopes.add(cancel)
            try:
                yield
            finally:
                self._scopes.discard(cancel)
        if cancel.cancelled_caught:
            raise Failure("unauthorized", "the token was replaced")


def _bearer(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    found = [value for name, value in headers if name == b"authorization"]
    if len(found) != 1:
        return None
    scheme, _, token = found[0].partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


def _takes_query_token(scope: Any) -> bool:
    if scope["type"] != "websocket":
        return False
    path = local_path(scope["path"])
    return any(path == one or path.startswith(f"{one}/") for one in _QUERY_TOKEN_PREFIXES)


def local_path(path: str) -> str:
    """The path without `/runtimes/local`: both spellings lead to the same place."""
    while path.startswith(_LOCAL):
        path = path[len(_LOCAL) - 1 :]
    return path


def presented(scope: Any) -> bytes | None:
    """The token that a request brings, or None."""
    token = _bearer(scope["headers"])
    if token is None and _takes_query_token(scope):
        return split_query(scope["query_string"]).get("token")
    return token


def require_token(tokens: Tokens, scope: Any) -> None:
    """Raises `Failure` (unauthorized) unless the request brings the token in force."""
    token = presented(scope)
    if token is None:
        raise Failure(
            "unauthorized",
            "no token; send the header 'Authorization: Bearer <token>'",
            headers=_CHALLENGE,
        )
    if not tokens.accepts(token):
        raise Failure("unauthorized", "the token is not valid here", headers=_CHALLENGE)

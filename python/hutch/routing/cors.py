"""Which web pages may ask: CORS and the `Origin` of WebSockets.

Belongs here: the configured origins and the headers that follow from them. The runtime's
default is none: bearer tokens are the only credential, and no page holds one.
Source: wire contract, section 1, "CORS"; the Fetch standard, "CORS protocol".
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from hutch.wire.errors import Failure

Headers = tuple[tuple[bytes, bytes], ...]

_EXPOSED: Final = b"X-Request-ID, ETag, Content-Range, Accept-Ranges, Content-Length"


def _header(scope: Any, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


class Origins:
    """The origins whose pages may read answers; `*` stands for all."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._all = "*" in allowed
        self._allowed = frozenset(one.encode("ascii") for one in allowed)

    def headers(self, scope: Any) -> Headers:
        """What every answer to this request carries; nothing for an origin that is not allowed."""
        origin = _header(scope, b"origin")
        if not origin or not (self._all or origin in self._allowed):
            return ()
        if self._all:
            return (
                (b"access-control-allow-origin", b"*"),
                (b"access-control-expose-headers", _EXPOSED),
            )
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        )

    def preflight(self, scope: Any) -> Headers | None:
        """What answers a preflight beside `headers`; None where the request is none."""
        if scope.get("method") != "OPTIONS" or not _header(scope, b"origin"):
            return None
        method = _header(scope, b"access-control-request-method")
        if not method:
            return None
        if not self.headers(scope):
            return ()
        wanted = _header(scope, b"access-control-request-headers")
        return (
            (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", wanted or b"Authorization, Content-Type"),
            (b"access-control-max-age", b"600"),
        )

    def check_socket(self, scope: Any) -> None:
        """Raises `Failure` (forbidden) for a WebSocket from a page that may not open one."""
        origin = _header(scope, b"origin")
        if scope["type"] != "websocket" or not origin or self._all or origin in self._allowed:
            return
        # The scheme is ignored: behind a proxy that ends TLS ours is http and the page's https.
        own = _header(scope, b"host").decode("latin-1").lower()
        if urlsplit(origin.decode("latin-1").lower()).netloc != own:
            shown = origin[:200].decode("latin-1")
            raise Failure("forbidden", f"the origin {shown!r} may not open a socket here")

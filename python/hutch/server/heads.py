"""Request heads: what is refused before anybody acts on it, and the ASGI scope of the rest.

Belongs here: hygiene beyond the parser's, and building scopes. Banned here: I/O. h11 parses; it
is lenient where RFC 9112 allows it, and each leniency is a way to make two servers in a row
read two different requests (request smuggling). So here nothing is repaired, all is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import h11

from hutch.server.feed import MOST_LINES
from hutch.wire.errors import Failure

END: Final = b"\r\n\r\n"

# A bare CR is refused by h11.
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_FOLDED: Final = re.compile(rb"\n[ \t]")
_VERSIONS: Final = (b"1.1", b"1.0")

# The extension that has the request as it came: h11's event, with the target in its own form and
# the headers in their own case. What passes requests on needs it.
REQUEST: Final = "hutch.request"
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=:\[\]%-]*")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Peers:
    """Both ends of a connection, as ASGI has them: (address, port) or None."""

    client: tuple[str, int] | None
    server: tuple[str, int] | None
    is_secure: bool = False


def check_size(size: int, limit: int) -> None:
    """Raises `Failure` (bad_request) for a head that is too large, naming the limit."""
    if size > limit:
        raise Failure("bad_request", f"request head: over {limit} bytes (--header-bytes)")


def check_count(raw: bytearray, end: int) -> None:
    """Raises `Failure` (bad_request) for more header lines than anybody needs."""
    if raw.count(b"\n", 0, end) > MOST_LINES:
        raise Failure("bad_request", f"request head: over {MOST_LINES} header lines")


def check_lines(raw: bytearray, start: int, end: int) -> None:
    """Raises `Failure` (bad_request) for line ends and folding that RFC 9112 deprecates.

    Looks at what came since `start`. A bare LF is refused at once, since a head that is written
    with them would never be complete.
    """
    if _BARE_LF.search(raw, start, end) is not None:
        raise Failure("bad_request", "request head: a line does not end in CR LF")
    if _FOLDED.search(raw, max(0, start - 2), end) is not None:
        raise Failure("bad_request", "request head: a header is folded over two lines")


def check_parsed(request: h11.Request) -> bytes:
    """The target in origin form; raises `Failure` (bad_request) for what is ambiguous."""
    if request.http_version not in _VERSIONS:
        raise Failure("bad_request", "this server speaks HTTP/1.1")
    hosts = []
    sized = encoded = False
    for name, value in request.headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"content-length":
            sized = True
        elif name == b"transfer-encoding":
            encoded = True
    if encoded and sized:
        raise Failure("bad_request", "both Content-Length and Transfer-Encoding; send one")
    if encoded and request.http_version < b"1.1":
        raise Failure("bad_request", "Transfer-Encoding: HTTP/1.0 has none")
    if len(hosts) > 1 or any(_HOST.fullmatch(one) is None for one in hosts):
        raise Failure("bad_request", "Host: send one, a host and a port")
    return _origin_form(request, hosts[0] if hosts else None)


def _origin_form(request: h11.Request, host: bytes | None) -> bytes:
    target: bytes = request.target
    if target.startswith(b"/") or (target == b"*" and request.method == b"OPTIONS"):
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Failure("bad_request", "request target: give a path that begins with /")
    if host is not None and absolute[1].lower() != host.lower():
        raise Failure("bad_request", "request target: its host is not that of the Host header")
    rest = absolute[2]
    return rest if rest.startswith(b"/") else b"/" + rest


def is_upgrade(request: h11.Request) -> bool:
    """Whether the request asks for a WebSocket. Other upgrades (h2c) are ignored, as they may."""
    wanted = False
    for name, value in request.headers:
        if name == b"upgrade":
            wanted = value.strip().lower() == b"websocket"
            break
    return wanted and request.http_version >= b"1.1"


def http_scope(
    request: h11.Request, target: bytes, peers: Peers, state: dict[str, Any]
) -> dict[str, Any]:
    """The scope of an HTTP request. Header names are in lower case, values as sent."""
    path, _, query = target.partition(b"?")
    text = path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version.decode("ascii"),
        "method": request.method.decode("ascii"),
        "scheme": "https" if peers.is_secure else "http",
        "path": unquote(text) if "%" in text else text,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.headers),
        "client": peers.client,
        "server": peers.server,
        "state": state,
        "extensions": {"http.response.trailers": {}, REQUEST: request},
    }


def make_websocket(scope: dict[str, Any], offered: list[str]) -> None:
    """Turns the scope of a handshake into that of a WebSocket."""
    del scope["method"]
    scope.update(
        type="websocket",
        scheme="wss" if scope["scheme"] == "https" else "ws",
        subprotocols=offered,
        extensions={**scope["extensions"], "websocket.http.response": {}},
    )

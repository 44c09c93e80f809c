"""What changes in the head of a request for an application, and in that of its answer.

Belongs here: `Form`, `Passing`. Banned here: I/O, and whether a target may be reached.
Source: wire contract, section 8.

The application must learn neither the runtime's token nor how it was named; all else is its own:
cookies, `Origin`, CORS, an `Authorization` or a `token` of its own, the order and bytes of
whatever parameters are left.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hutch.forward import Head, Headers
from hutch.forward.heads import mapped, replaced, values, without
from hutch.runtime.http.auth import bearer
from hutch.wire.shapes import split_pair

TARGET: Final = b"X-Oblien-Proxy-Target"
PARAMETER: Final = b"x_oblien_target"
_TOKEN: Final = b"token"

_ABSOLUTE: Final = re.compile(rb"(?:https?:)?//([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_NO_PATH: Final = re.compile(rb"[?#]")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
_HTTP: Final = 80


@dataclass(frozen=True, slots=True)
class Form:
    """How a request named its application: in raw bytes, so that a `Location` can do the same.

    `prefix` is what its paths are put behind, `path` the application's own; `parameter` is the pair
    of the query that names it, where one does.
    """

    target: bytes
    prefix: bytes
    path: bytes
    parameter: bytes = b""


class Passing:
    """The edit of one request (`hutch.forward.Edit`)."""

    def __init__(self, form: Form, *, port: int, is_ours: Callable[[bytes], bool]) -> None:
        self._form = form
        self._port = port
        self._is_ours = is_ours
        self._host = b""  # as the client called this server

    def request(self, head: Head) -> Head:
        """The head that the application gets."""
        headers = [
            (name, value)
            for name, value in without(head.headers, {TARGET.lower()})
            if not self._is_credential(name, value)
        ]
        hosts = values(headers, b"host")
        if hosts:
            self._host = hosts[0].lower()
            headers = replaced(headers, b"X-Forwarded-Host", hosts[0])
        # The page that asks may have been asked for by the same query.
        headers = mapped(headers, b"referer", self._bare)
        headers = replaced(headers, b"Host", b"localhost:%d" % self._port)
        return Head(head.method, self._target(head.target), headers)

    def _is_credential(self, name: bytes, value: bytes) -> bool:
        token = bearer(value) if name.lower() == b"authorization" else None
        return token is not None and self._is_ours(token)

    def _target(self, target: bytes) -> bytes:
        _, mark, query = target.partition(b"?")
        return self._bare(self._form.path + mark + query)

    def _bare(self, address: bytes) -> bytes:
        """Without what of its query is for this server alone."""
        path, mark, query = address.partition(b"?")
        pairs = query.split(b"&")
        kept = [one for one in pairs if not self._is_private(one)]
        if len(kept) == len(pairs):
            return address
        return path + mark + b"&".join(kept) if kept else path

    def _is_private(self, pair: bytes) -> bool:
        name, value = split_pair(pair)
        return name == PARAMETER or (name == _TOKEN and self._is_ours(value))

    def answer(self, _status: int, headers: Headers) -> Headers:
        """The headers that the client gets."""
        return mapped(headers, b"location", self._location)

    def _location(self, value: bytes) -> bytes:
        """A redirect to the application itself, in the form that the request used."""
        absolute = _ABSOLUTE.fullmatch(value)
        if absolute is not None:
            if not self._is_itself(absolute[1].lower()):
                return value
            path = absolute[2]
            value = path if path.startswith(b"/") else b"/" + path
        elif _SCHEME.match(value) or not value or value.startswith(b"#"):
            return value
        return self._named(self._form.prefix + _resolved(self._form.path, value))

    def _is_itself(self, authority: bytes) -> bool:
        host, colon, port = authority.rpartition(b":")
        if authority == self._host and self._host:
            return True  # what the application was told in `X-Forwarded-Host`
        if not colon or authority.endswith(b"]"):
            host, port = authority, b"%d" % _HTTP
        return port == b"%d" % self._port and host in {b"localhost", b"127.0.0.1", b"[::1]"}

    def _named(self, location: bytes) -> bytes:
        if not self._form.parameter:
            return location
        rest, hash_, fragment = location.partition(b"#")
        mark = b"&" if b"?" in rest else b"?"
        return rest + mark + self._form.parameter + hash_ + fragment


def _resolved(base: bytes, reference: bytes) -> bytes:
    """Where a reference leads within the application (RFC 3986, section 5.2).

    Left to the client, `..` would lead out of the prefix, and from a root that was asked for
    without its slash every relative path.
    """
    path = _NO_PATH.split(reference, maxsplit=1)[0]
    if not path:
        return base + reference
    rest = reference[len(path) :]
    if not path.startswith(b"/"):
        path = base.rpartition(b"/")[0] + b"/" + path
    kept: list[bytes] = []
    name = b""
    for segment in path[1:].split(b"/"):
        name = segment.lower().replace(b"%2e", b".")
        if name == b"..":
            del kept[-1:]
        elif name != b".":
            kept.append(segment)
    if name in {b".", b".."}:
        kept.append(b"")
    return b"/" + b"/".join(kept) + rest

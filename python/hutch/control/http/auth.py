"""Who may ask: a client's id and secret, or a gateway's credential.

Belongs here: reading headers, and the address that failures are counted for. Banned here: logging
a secret, or saying anything about a path to a caller without one.
Source: wire contract, sections 1 and 9.
"""

from __future__ import annotations

import hmac
from functools import partial
from typing import Any, Final

from hutch.control.composition import Control
from hutch.control.store import clients
from hutch.wire.errors import Failure

CLIENT_ID: Final = b"x-client-id"
_CLIENT_SECRET: Final = b"x-client-secret"
_LONGEST: Final = 256


def _sole(scope: Any, name: bytes) -> bytes | None:
    """The value of a header that is there once, else None."""
    found = [bytes(value) for key, value in scope["headers"] if key == name]
    return found[0] if len(found) == 1 and 0 < len(found[0]) <= _LONGEST else None


def _address(scope: Any, *, behind_proxy: bool) -> str:
    """Whom failures are counted for: the peer, or whom our own proxy says it speaks for."""
    if behind_proxy:
        forwarded = [value for key, value in scope["headers"] if key == b"x-forwarded-for"]
        if forwarded:
            return str(forwarded[-1].decode("latin-1").rpartition(",")[2].strip())[:_LONGEST]
    peer = scope.get("client")
    return str(peer[0]) if peer else ""


async def require_client(control: Control, scope: Any, *, behind_proxy: bool) -> None:
    """Raises `Failure` (unauthorized, rate_limited) unless a client's own secret is there.

    Handlers may then take the id from the header: it is there once, and it is true.
    """
    identifier, secret = _sole(scope, CLIENT_ID), _sole(scope, _CLIENT_SECRET)
    if identifier is None or secret is None:
        raise Failure(
            "unauthorized",
            "no credentials; send the headers X-Client-ID and X-Client-Secret, each once",
        )
    name, address = identifier.decode("latin-1"), _address(scope, behind_proxy=behind_proxy)
    control.logins.check_rate(name, address)
    client = await control.store.read(partial(clients.find, identifier=name))
    control.logins.admit(client, name, secret.decode("latin-1"), address)


def require_gateway(control: Control, scope: Any) -> None:
    """Raises `Failure` (unauthorized) unless the gateways' credential is there."""
    given = _sole(scope, b"authorization") or b""
    scheme, _, token = given.partition(b" ")
    wanted = control.credential.token.encode("ascii")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), wanted):
        raise Failure(
            "unauthorized",
            "this listener is for gateways; send the header 'Authorization: Bearer <credential>'",
            headers=((b"www-authenticate", b'Bearer realm="hutch gateways"'),),
        )

"""The client's side of a WebSocket's opening handshake (RFC 6455, section 4.2.1).

Belongs here: what a client must send, and what it offers. Banned here: answering, frames.
Extensions are not read at all: none is ever accepted.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

import h11

from hutch.wire.errors import Failure

_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client offers: its key, and subprotocols."""

    key: bytes
    offered: list[str]


def check_handshake(request: h11.Request) -> Handshake:
    """The client's side of the handshake.

    Raises `Failure` (bad_request) where the handshake is not that of RFC 6455, section 4.2.1.
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        found.setdefault(name, []).append(value)
    tokens = [one.strip().lower() for one in b",".join(found.get(b"connection", [])).split(b",")]
    if request.method != b"GET" or b"upgrade" not in tokens:
        raise Failure("bad_request", "WebSocket: send a GET with 'Connection: Upgrade'")
    if found.get(b"sec-websocket-version") != [b"13"]:
        raise Failure(
            "bad_request",
            "Sec-WebSocket-Version: send 13",
            headers=((b"sec-websocket-version", b"13"),),
        )
    keys = found.get(b"sec-websocket-key", [])
    if len(keys) != 1 or not _is_key(keys[0]):
        raise Failure("bad_request", "Sec-WebSocket-Key: send 16 bytes in base64")
    offered = b",".join(found.get(b"sec-websocket-protocol", [])).decode("latin-1").split(",")
    return Handshake(keys[0], [one.strip() for one in offered if one.strip()])


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False

"""Gateway tokens: who may reach which workspace, signed by the control plane, read by the gateway.

Belongs here: keys, claims, signing, verifying. Banned here: whether a token is still wanted (its
generation is compared by who knows the workspace), storage, HTTP.
Source: wire contract, sections 9 and 10; RFC 7519 (JWT), RFC 8037 (EdDSA).
"""

from __future__ import annotations

from hutch.tokens.claims import Claims
from hutch.tokens.keys import Jwk, PublicKeys, SigningKey
from hutch.tokens.signing import sign
from hutch.tokens.verifying import MOST_BYTES, TokenRefused, verify

__all__ = [
    "MOST_BYTES",
    "Claims",
    "Jwk",
    "PublicKeys",
    "SigningKey",
    "TokenRefused",
    "sign",
    "verify",
]

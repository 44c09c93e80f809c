"""From claims to a token.

Belongs here: `sign`. Banned here: deciding how long a token lasts.
"""

from __future__ import annotations

import jwt
import msgspec

from hutch.tokens.claims import Claims
from hutch.tokens.keys import SigningKey
from hutch.tokens.verifying import ALGORITHM


def sign(claims: Claims, key: SigningKey) -> str:
    """The token: three parts of base64, EdDSA, the key's name in its header."""
    payload = msgspec.to_builtins(claims)
    return jwt.encode(payload, key.private, algorithm=ALGORITHM, headers={"kid": key.kid})

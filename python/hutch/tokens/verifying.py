"""From a token to its claims, or to why it is refused.

Belongs here: everything that the token alone can tell: size, form, algorithm, signature, audience,
times. Banned here: the workspace's record (generation, address), which the caller compares.

PyJWT verifies. What it leaves open is closed before it sees the token: the length, one spelling
only (base64 with stray bits decodes to the same bytes), and headers that change what a signature
means (`crit`, `b64`), of which we understand none.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal

import jwt
import msgspec
from msgspec import Meta, Struct

from hutch.tokens.claims import AUDIENCE, ISSUER, Claims
from hutch.tokens.keys import PublicKeys
from hutch.wire.errors import Failure

ALGORITHM: Final = "EdDSA"
MOST_BYTES: Final = 4096
# Two machines' clocks; more would let revoked-by-time tokens live on.
LEEWAY_SECONDS: Final = 5

Reason = Literal["malformed", "unknown_key", "signature", "expired", "not_yet_valid", "claims"]

_REQUIRED: Final = ["iss", "aud", "sub", "ip", "port", "gen", "jti", "iat", "nbf", "exp"]
_PARTS: Final = 3


class TokenRefused(Failure):
    """Unauthorized, with the `reason` for whoever must act on it; the token is in no message."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__("unauthorized", message)
        self.reason: Reason = reason


class _Header(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a header of ours holds: one with `crit`, `b64` or `jwk` is somebody else's."""

    alg: Literal["EdDSA"]
    kid: Annotated[str, Meta(min_length=1, max_length=128)]
    typ: Literal["JWT"] = "JWT"


def verify(token: bytes | str, keys: PublicKeys) -> Claims:
    """The claims of a token that is good by itself, now.

    Raises `TokenRefused` (unauthorized): `unknown_key` where none of `keys` has its name, which a
    look for newer keys may cure.
    """
    text = _text(token)
    header = _header(text)
    if header.kid not in keys:
        raise TokenRefused("unknown_key", "the token's key is not known here")
    try:
        payload = jwt.decode(
            text,
            keys[header.kid],
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY_SECONDS,
            options={"require": _REQUIRED},
        )
        return msgspec.convert(payload, Claims)
    except jwt.ExpiredSignatureError:
        raise TokenRefused("expired", "the token has expired; get a new one") from None
    except jwt.ImmatureSignatureError:
        raise TokenRefused("not_yet_valid", "the token is not valid yet") from None
    except jwt.InvalidSignatureError:
        raise TokenRefused("signature", "the token's signature is wrong") from None
    except jwt.DecodeError:
        raise TokenRefused("malformed", "the token is not well-formed") from None
    except (jwt.PyJWTError, msgspec.ValidationError, RecursionError, ValueError, OverflowError):
        raise TokenRefused("claims", "the token is not one for this gateway") from None


def _text(token: bytes | str) -> str:
    if len(token) > MOST_BYTES:
        raise TokenRefused("malformed", f"the token is over {MOST_BYTES} bytes")
    try:
        text = token if isinstance(token, str) else token.decode("ascii")
        parts = text.encode("ascii").split(b".")
    except UnicodeError:
        raise TokenRefused("malformed", "the token is not ASCII") from None
    if len(parts) != _PARTS or not all(_is_canonical(one) for one in parts):
        raise TokenRefused("malformed", "the token is not three parts of base64")
    return text


def _is_canonical(part: bytes) -> bool:
    """Whether this is the one spelling of its bytes, so that a token is one text."""
    return part != b"" and base64.urlsafe_b64encode(_decoded(part)).rstrip(b"=") == part


def _decoded(part: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        return b""


def _header(text: str) -> _Header:
    try:
        return msgspec.json.decode(_decoded(text.partition(".")[0].encode("ascii")), type=_Header)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise TokenRefused(
            "malformed", f"the token's header is not that of an {ALGORITHM} token with a kid"
        ) from None

"""Ed25519 keys: the one that signs, and those that verify.

Belongs here: making keys, their names, their JWK form. Banned here: where they are kept.
Source: RFC 8037 (OKP keys), RFC 7638 (thumbprints).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

KEY_BYTES = 32


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


class Jwk(Struct, frozen=True, kw_only=True):
    """A public key as `GET /keys` tells it."""

    kid: Annotated[str, Meta(min_length=1, max_length=128)]
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    x: Annotated[str, Meta(min_length=43, max_length=43)]

    @property
    def public(self) -> Ed25519PublicKey:
        """The key. Raises ValueError where `x` is none."""
        return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(self.x + "="))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its name, which is its thumbprint: the same key has the same name."""

    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, raw: bytes) -> SigningKey:
        """The key of 32 secret bytes. Raises ValueError for another length."""
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def to_bytes(self) -> bytes:
        """The 32 secret bytes."""
        return self.private.private_bytes_raw()

    @property
    def kid(self) -> str:
        """The key's name: RFC 7638's thumbprint of its public half."""
        members = f'{{"crv":"Ed25519","kty":"OKP","x":"{self._x}"}}'
        return _b64(hashlib.sha256(members.encode("ascii")).digest())

    @property
    def jwk(self) -> Jwk:
        """The public half."""
        return Jwk(kid=self.kid, x=self._x)

    @property
    def _x(self) -> str:
        return _b64(self.private.public_key().public_bytes_raw())


class PublicKeys(Mapping[str, Ed25519PublicKey]):
    """The keys that verify, by name. Raises ValueError for a JWK whose `x` is no key."""

    def __init__(self, keys: Iterable[Jwk] = ()) -> None:
        self._keys = {one.kid: one.public for one in keys}

    def __getitem__(self, kid: str) -> Ed25519PublicKey:
        return self._keys[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

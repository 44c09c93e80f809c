"""Secrets at rest: encryption and keyed hashes under one key from a file.

Belongs here: the key file, sealing, digests. Banned here: where sealed things are kept.
Raw tokens and signing keys must be read back, so they are encrypted (AES-256-GCM, bound to what
they belong to); client secrets must only be compared, so a keyed hash is kept. A slow hash is for
passwords: 256 random bits cannot be guessed, and it would let one wrong client stall all.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hutch.state import private_beside
from hutch.wire.errors import Failure

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Vault:
    """Seals, opens, digests."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(_derived(secret, b"seal"))
        self._digest_key = _derived(secret, b"digest")
        self.fingerprint = _derived(secret, b"fingerprint").hex()[:32]

    def seal(self, text: str, *, about: str) -> bytes:
        """`text` encrypted; opens only for the same `about`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), about.encode())

    def open(self, sealed: bytes, *, about: str) -> str:
        """What was sealed. Raises `Failure` (internal) where it was changed or is elsewhere's."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, about.encode()).decode()
        except InvalidTag:
            raise Failure("internal", f"a secret on record cannot be decrypted: {about}") from None

    def digest(self, text: str) -> bytes:
        """The keyed SHA-256."""
        return hmac.digest(self._digest_key, text.encode("utf-8", "surrogateescape"), "sha256")


def _derived(secret: bytes, purpose: bytes) -> bytes:
    # One block of HKDF-Expand (RFC 5869): the secret is uniform already.
    return hmac.digest(secret, b"hutch " + purpose + b"\x01", "sha256")


def open_vault(path: Path) -> Vault:
    """The vault of a key file, made (0600) where there is none.

    Raises `Failure` (bad_request) for a file that holds no key, OSError for one that cannot be
    read.
    """
    return Vault(bytes.fromhex(_own(path)))


def _own(path: Path) -> str:
    if not path.exists():
        make_once(path, secrets.token_hex(_KEY_BYTES))
    text = path.read_text("ascii", "replace").strip()
    if len(text) != 2 * _KEY_BYTES or not set(text) <= set("0123456789abcdef"):
        raise Failure("bad_request", f"key file {path}: not {_KEY_BYTES} bytes in hex")
    return text


def make_once(path: Path, content: str) -> None:
    """A 0600 file with `content`, whole or not at all; who comes second keeps the first one's."""
    descriptor, name = private_beside(path)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{content}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()

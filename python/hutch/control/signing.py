"""The keys that sign gateway tokens, and the tokens.

Belongs here: making, changing and using signing keys. Banned here: who may have a token.
A key that was replaced verifies for as long as the longest token that it may have signed lives.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

from sqlalchemy import Connection

from hutch.control.records import Record
from hutch.control.rules import rfc3339
from hutch.control.store import keys
from hutch.control.store.engine import Store, microseconds
from hutch.control.store.keys import KeyRecord
from hutch.control.vault import Vault
from hutch.tokens import Claims, SigningKey, sign
from hutch.wire.control.access import AccessToken
from hutch.wire.control.config import ControlLimits
from hutch.wire.control.gateways import KeyAnswer, KeysAnswer
from hutch.wire.errors import Failure

_SECOND: Final = 1_000_000
# Two machines' clocks differ a little, and verifying allows for it.
_MARGIN_SECONDS: Final = 60.0


class Signing:
    """Signs with the key in force; another process may put a new one into force at any time."""

    def __init__(self, store: Store, vault: Vault, limits: ControlLimits) -> None:
        self._store = store
        self._vault = vault
        self._limits = limits
        self._opened: dict[str, SigningKey] = {}

    async def issue(self, record: Record, seconds: float) -> AccessToken:
        """A gateway token for a workspace, of its present generation."""
        known = await self._store.read(keys.current)
        if known is None:
            raise Failure("internal", "there is no signing key")
        now = microseconds() // _SECOND
        claims = Claims(
            sub=record.id,
            ip=record.ip,
            port=record.port,
            gen=record.generation,
            jti=secrets.token_hex(16),
            iat=now,
            nbf=now,
            exp=now + int(seconds),
        )
        token = sign(claims, self._open(known))
        return AccessToken(token=token, expires_at=rfc3339(claims.exp * _SECOND))

    def _open(self, known: KeyRecord) -> SigningKey:
        if known.kid not in self._opened:
            secret = self._vault.open(known.sealed, about=_about(known.kid))
            self._opened = {known.kid: SigningKey.from_bytes(bytes.fromhex(secret))}
        return self._opened[known.kid]

    async def public(self) -> KeysAnswer:
        """Every key whose tokens may still be good."""
        after = microseconds() - _lifetime(self._limits)
        found = await self._store.read(partial(keys.verifying, retired_after=after))
        told = [KeyAnswer(kid=one.kid, kty="OKP", crv="Ed25519", x=one.x) for one in found]
        return KeysAnswer(keys=told)


def _about(kid: str) -> str:
    return f"signing key {kid}"


def _lifetime(limits: ControlLimits) -> int:
    longest = max(limits.token_seconds, limits.workspace_token_seconds)
    return int((longest + _MARGIN_SECONDS) * _SECOND)


def forgetting(limits: ControlLimits) -> Callable[[Connection], None]:
    """A transaction that drops keys whose tokens have all expired.

    For the server alone: a command beside it does not know how long its tokens last.
    """
    before = microseconds() - _lifetime(limits)
    return partial(keys.forget, retired_before=before)


def rotating(vault: Vault) -> Callable[[Connection], str]:
    """A transaction that puts a new key into force; its name."""
    key, now = SigningKey.generate(), microseconds()
    record = KeyRecord(
        kid=key.kid,
        sealed=vault.seal(key.to_bytes().hex(), about=_about(key.kid)),
        x=key.jwk.x,
        created_at=now,
    )

    def write(connection: Connection) -> str:
        keys.replace(connection, record)
        return record.kid

    return write


def providing(vault: Vault) -> Callable[[Connection], None]:
    """A transaction after which there is a key."""

    def write(connection: Connection) -> None:
        if keys.current(connection) is None:
            rotating(vault)(connection)

    return write

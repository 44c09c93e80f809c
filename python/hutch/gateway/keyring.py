"""The keys that verify tokens, and tokens that were verified.

Belongs here: fetching the control plane's public keys, when to fetch them again, and remembering
what a token said. Banned here: whether a token is still wanted (`admission`).

A key that is not known is looked for once more, whoever asks: a signature cannot be judged without
it. So that strangers cannot make the control plane busy by that, one look serves all who wait, and
the next one starts a second after it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import trio

from hutch.gateway.plane import Plane, PlaneAway
from hutch.tokens import Claims, Jwk, PublicKeys, TokenRefused, verify
from hutch.wire.errors import Failure

_log: Final = logging.getLogger("hutch.gateway")

_APART_SECONDS: Final = 1.0
# So that a key which was withdrawn counts no longer than this.
_REFRESH_SECONDS: Final = 60.0
# 128 bytes each, and what Claims take: 4 MiB together. A signature costs 150 microseconds.
_MOST_REMEMBERED: Final = 8192


@dataclass(slots=True)
class _Look:
    """One look for keys: who waits for it, and whether it found the control plane."""

    done: trio.Event = field(default_factory=trio.Event)
    failed: bool = True


class Keyring:
    """Public keys by name; `follow` keeps them fresh."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._keys: PublicKeys | None = None
        self._remembered: OrderedDict[bytes, Claims] = OrderedDict()
        self._wanted = trio.Event()
        self._next = _Look()
        self._current = self._next
        self.jwks: tuple[Jwk, ...] = ()

    async def verify(self, token: bytes) -> Claims:
        """The claims of a token that is good by itself, now.

        Raises `TokenRefused` (unauthorized), `Failure` (unavailable) where no keys are known.
        """
        claims = self._remembered.get(token)
        if claims is not None and claims.nbf <= time.time() < claims.exp:
            self._remembered.move_to_end(token)
            return claims
        try:
            claims = self._verified(token)
        except TokenRefused as refused:
            if refused.reason != "unknown_key":
                raise
            claims = await self._looked_for(token)
        self._remembered[token] = claims
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return claims

    def _verified(self, token: bytes) -> Claims:
        return verify(token, PublicKeys() if self._keys is None else self._keys)

    def is_ours(self, token: bytes) -> bool:
        """Whether these bytes are a token of this gateway, valid just now or not."""
        try:
            self._verified(token)
        except TokenRefused as refused:
            return refused.reason in {"expired", "not_yet_valid", "claims"}
        return True

    async def _looked_for(self, token: bytes) -> Claims:
        """The claims after the look that is under way, or else after one that begins now."""
        self._wanted.set()
        looks = (self._current, self._next)
        for look in looks:
            await look.done.wait()
            try:
                return self._verified(token)
            except TokenRefused as refused:
                if refused.reason != "unknown_key" or (look is looks[-1] and not look.failed):
                    raise
        raise Failure(
            "unavailable",
            "the control plane cannot be asked for the token's key; try again",
            extra={"may_have_arrived": False},
        )

    async def follow(self) -> None:
        """Looks when somebody wants a key, and now and then anyway; for ever."""
        while True:
            self._wanted = trio.Event()
            self._current, self._next = self._next, _Look()
            try:
                self._take(await self._plane.keys())
                self._current.failed = False
            except PlaneAway as error:
                _log.info("the keys could not be looked up: %s", error)
            self._current.done.set()
            await trio.sleep(_APART_SECONDS)
            if self._keys is not None:
                with trio.move_on_after(_REFRESH_SECONDS):
                    await self._wanted.wait()

    def _take(self, jwks: tuple[Jwk, ...]) -> None:
        if self._keys is not None and jwks == self.jwks:
            return
        try:
            self._keys = PublicKeys(jwks)
        except ValueError as error:
            _log.warning("the control plane told a key that is none: %s", error)
            return
        self.jwks = jwks
        self._remembered.clear()

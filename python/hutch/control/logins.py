"""Who may ask: clients by id and secret, and how often one may be wrong.

Belongs here: comparing, and counting failures. Banned here: headers. An unknown client costs what
a known one costs and is told the same. Failures are counted per client and address, so that nobody
locks a client out from elsewhere, and per address: one that is over its bound is heard only for
clients that have been right from there.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from hutch.control.records import Client
from hutch.control.vault import Vault
from hutch.wire.control.config import ControlLimits
from hutch.wire.errors import Failure

_WINDOW_SECONDS: Final = 60.0
# Each is some hundred bytes; an attacker with many addresses pushes out only old ones.
_MOST_KEPT: Final = 20_000
_NOBODY: Final = bytes(32)

K = TypeVar("K")


class _Failures(Generic[K]):
    """How many failures a key has had in its present minute."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, int]] = OrderedDict()

    def wait(self, key: K) -> float:
        """For how many seconds the key is over its bound; 0 where it is not."""
        begun, count = self._kept.get(key, (0.0, 0))
        left = begun + _WINDOW_SECONDS - self._clock()
        return left if count >= self._most and left > 0 else 0.0

    def note(self, key: K) -> None:
        begun, count = self._kept.pop(key, (0.0, 0))
        if self._clock() - begun >= _WINDOW_SECONDS:
            begun, count = self._clock(), 0
        self._kept[key] = begun, count + 1
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)


class Logins:
    """The gate in front of everything that belongs to a client."""

    def __init__(self, vault: Vault, limits: ControlLimits, clock: Callable[[], float]) -> None:
        self._vault = vault
        self._pairs = _Failures[tuple[str, str]](limits.login_failures, clock)
        self._addresses = _Failures[str](limits.address_failures, clock)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def check_rate(self, identifier: str, address: str) -> None:
        """Raises `Failure` (rate_limited) where there were too many failures; asked first."""
        pair = (identifier, address)
        wait = self._pairs.wait(pair)
        if pair not in self._known:
            wait = max(wait, self._addresses.wait(address))
        if wait:
            seconds = int(wait) + 1
            raise Failure(
                "rate_limited",
                f"too many failed logins; try again in {seconds} s",
                headers=((b"retry-after", b"%d" % seconds),),
            )

    def admit(self, client: Client | None, identifier: str, secret: str, address: str) -> Client:
        """The client, if the secret is its own.

        Raises `Failure`: unauthorized, or rate_limited where others failed while this one was
        looked up: a burst of guesses is no way around the bound.
        """
        self.check_rate(identifier, address)
        known = _NOBODY if client is None else client.digest
        is_right = hmac.compare_digest(self._vault.digest(secret), known)
        pair = (identifier, address)
        if client is None or not is_right:
            self._pairs.note(pair)
            self._addresses.note(address)
            raise Failure("unauthorized", "X-Client-ID and X-Client-Secret do not fit together")
        self._known.pop(pair, None)
        self._known[pair] = None
        if len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)
        return client

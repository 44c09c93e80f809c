"""What goes wrong with an upstream, as the client is told.

Belongs here: the sentences, and `may_have_arrived`: whether a client may ask again without
running something twice. Banned here: I/O. Source: wire contract, sections 8 and 10.
"""

from __future__ import annotations

from typing import Final

from hutch.wire.errors import Code, Failure

_SHOWN: Final = 200


class Broken(Exception):  # noqa: N818  # the house's word: the upstream failed, not we
    """The upstream closed, reset, or sent what is no HTTP. The message says what it did."""


class Silent(Exception):  # noqa: N818  # as above
    """Not a byte moved for too long; `seconds` says how long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def unreachable(name: str, why: str) -> Failure:
    """Nothing of the request left: asking again is safe."""
    return _failure("bad_gateway", f"cannot connect to {name}: {why}", arrived=False)


def unreachable_in_time(name: str, seconds: float) -> Failure:
    """As `unreachable`, but nobody said no."""
    sentence = f"cannot connect to {name}: no answer within {seconds:g} s"
    return _failure("timeout", sentence, arrived=False)


def broken(name: str, error: Broken, *, arrived: bool) -> Failure:
    """The upstream broke the exchange off."""
    return _failure("bad_gateway", f"{name}: {str(error)[:_SHOWN]}", arrived=arrived)


def silent(name: str, error: Silent) -> Failure:
    """The upstream has the request, and says nothing."""
    sentence = f"{name}: not a byte for {error.seconds:g} s"
    return _failure("timeout", sentence, arrived=True)


def _failure(code: Code, sentence: str, *, arrived: bool) -> Failure:
    clause = "may have arrived" if arrived else "has not arrived"
    return Failure(
        code, f"{sentence}; the request {clause} there", extra={"may_have_arrived": arrived}
    )

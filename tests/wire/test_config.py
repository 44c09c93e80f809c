"""The limits as they are where nobody sets them. Source: wire contract, sections 1, 2 and 7."""

from __future__ import annotations

import pytest

from hutch.wire.config import (
    Limits,
    ServerLimits,
    check_exposure,
    check_limits,
    limit_fields,
)
from hutch.wire.control.config import ControlLimits
from hutch.wire.errors import Failure
from hutch.wire.gateway import GatewayLimits

MIB = 2**20

DOCUMENTED: dict[str, float] = {
    "body_bytes": 96 * MIB,
    "content_bytes": 50 * MIB,
    "listing_entries": 50_000,
    "silence_seconds": 15,
    "send_idle_seconds": 300,
    "stalled_responses": 64,
    "stalled_grace_seconds": 30,
    "message_bytes": 4 * MIB,
    "ping_seconds": 20,
    "pong_seconds": 60,
}


def test_the_limits_are_the_documented_ones() -> None:
    limits = Limits()
    assert {name: getattr(limits, name) for name in DOCUMENTED} == DOCUMENTED
    # SIGTERM ends within ten seconds: the grace and what follows it fit.
    assert limits.grace_seconds < 10


SOCKETS = {"message_bytes", "ping_seconds", "pong_seconds"}
TLS = {"handshake_seconds"}


@pytest.mark.parametrize(
    ("limits", "its", "others"),
    [(Limits, SOCKETS, TLS), (ControlLimits, TLS, SOCKETS), (GatewayLimits, TLS, SOCKETS)],
)
def test_no_server_has_the_bound_of_what_it_does_not_do(
    limits: type[ServerLimits], its: set[str], others: set[str]
) -> None:
    names = {one.name for one in limit_fields(limits)}
    assert its <= names
    assert not others & names


@pytest.mark.parametrize("name", [one.name for one in limit_fields()])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_that_is_not_positive_is_refused_by_its_option(name: str, value: float) -> None:
    with pytest.raises(Failure, match="--" + name.replace("_", "-")):
        check_limits(Limits(**{name: value}))  # type: ignore[arg-type]  # as an option gives it


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_plain_text_stays_on_loopback(host: str) -> None:
    check_exposure(host, is_secure=False, is_behind_proxy=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "hutch.example", "127.0.0.1.example"]
)
def test_plain_text_on_a_network_is_refused(host: str) -> None:
    with pytest.raises(Failure, match=r"--tls-cert.*--behind-tls-proxy"):
        check_exposure(host, is_secure=False, is_behind_proxy=False)
    check_exposure(host, is_secure=True, is_behind_proxy=False)
    check_exposure(host, is_secure=False, is_behind_proxy=True)

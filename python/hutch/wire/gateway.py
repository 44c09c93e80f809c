"""The gateway's configuration: one frozen `GatewayConfig`, one frozen `GatewayLimits`.

Belongs here: the fields, their defaults and their words, as in `wire.config`. Banned here: reading
files or the environment (`hutch.cli` does). Source: wire contract, sections 0 and 10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hutch.wire.config import MOST_SECONDS, KeepLimits, ServerLimits, TlsLimits, is_http_url, limit
from hutch.wire.errors import Failure
from hutch.wire.paths import shorten

Network = IPv4Network | IPv6Network

NETWORKS: Final = ("10.0.0.0/8", "127.1.0.0/16")
STALE_SECONDS: Final = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayLimits(ServerLimits, KeepLimits, TlsLimits):
    """Every bound and every deadline of the gateway."""

    control_seconds: float = limit(5.0, "the control plane must have answered")


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayConfig:
    """What `hutch gateway` was told, complete.

    `credential` is the one for the control plane's internal listener, `stale_for` how long (s)
    what is known counts while that one is away.
    """

    host: str = "127.0.0.1"
    port: int = 9980
    admin_host: str = "127.0.0.1"
    admin_port: int = 9981
    control_url: str
    credential: str = field(repr=False)
    control_token_file: Path | None = None
    networks: tuple[Network, ...]
    allow_origins: tuple[str, ...] = ("*",)
    stale_for: float = STALE_SECONDS
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_tls_proxy: bool = False
    ready_file: Path | None = None
    limits: GatewayLimits = field(default_factory=GatewayLimits)


def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Raises `Failure` (bad_request) naming what is no network."""
    found = []
    for one in texts:
        try:
            found.append(ip_network(one))
        except ValueError:
            raise Failure(
                "bad_request",
                f"--network: {shorten(one)}; give a network such as 10.0.0.0/8, whose address "
                "has no bits beyond its prefix",
            ) from None
    return tuple(found)


def check_control_url(url: str) -> str:
    """`url` itself, without a slash at its end. Raises `Failure` (bad_request)."""
    if not is_http_url(url) or urlsplit(url).path.strip("/"):
        raise Failure("bad_request", f"--control-url: {shorten(url)}; give http://HOST:PORT")
    return url.rstrip("/")


def check_stale(seconds: float) -> float:
    """`seconds` itself. Raises `Failure` (bad_request) where it is out of range."""
    if not 0 <= seconds <= MOST_SECONDS:
        raise Failure(
            "bad_request", f"--stale-for: {seconds:g}; give seconds, at most {MOST_SECONDS}"
        )
    return seconds

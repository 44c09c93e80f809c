"""What `hutch control` was told, and its bounds.

Belongs here: the frozen configuration and the limits. Banned here: reading files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from hutch.wire.config import MIB, ApiLimits, TlsLimits, limit
from hutch.wire.errors import Failure

DAY: Final = 86_400.0
NETWORK: Final = IPv4Network("127.1.0.0/16")
LOOPBACK: Final = IPv4Network("127.0.0.0/8")


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlLimits(ApiLimits, TlsLimits):
    """Every bound and every deadline of the control plane."""

    body_bytes: int = limit(1 * MIB, "largest JSON request body")
    token_seconds: float = limit(3600.0, "a gateway token lasts")
    workspace_token_days: int = limit(30, "a workspace's long gateway token lasts, in days")
    login_failures: int = limit(10, "wrong secrets a minute of one client from one address")
    address_failures: int = limit(100, "wrong logins a minute from one address")
    idempotency_seconds: float = limit(DAY, "how long an idempotency key is remembered")
    address_rest_seconds: float = limit(600.0, "before a released address is given out again")
    start_seconds: float = limit(20.0, "a workspace's server must answer")
    reload_seconds: float = limit(5.0, "a workspace's server must have taken a new token")
    stop_seconds: float = limit(12.0, "from SIGTERM to SIGKILL of a workspace's server")
    revive_seconds: float = limit(30.0, "longest pause before a server that ended is restarted")
    log_bytes: int = limit(16 * MIB, "log of a workspace's server; a longer one is emptied")
    changes: int = limit(100_000, "most changes that are remembered for gateways")
    wait_seconds: float = limit(60.0, "longest wait of GET /changes")

    @property
    def workspace_token_seconds(self) -> float:
        """How long the long token lasts."""
        return self.workspace_token_days * DAY


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlConfig:
    """What `hutch control` was told, complete."""

    host: str = "127.0.0.1"
    port: int = 9970
    internal_host: str = "127.0.0.1"
    internal_port: int = 9971
    state_dir: Path
    database: str
    key_file: Path
    internal_token_file: Path
    network: IPv4Network = NETWORK
    allow_origins: tuple[str, ...] = ()
    ready_file: Path | None = None
    limits: ControlLimits = field(default_factory=ControlLimits)


def control_config(state_dir: Path, **given: Any) -> ControlConfig:
    """A configuration whose files lie in the state directory where nothing else is given."""
    defaults = {
        "database": f"sqlite:///{state_dir / 'control.db'}",
        "key_file": state_dir / "secret.key",
        "internal_token_file": state_dir / "gateway.token",
    }
    found = {name: value for name, value in given.items() if value is not None}
    return ControlConfig(state_dir=state_dir, **{**defaults, **found})


def check_network(text: str) -> IPv4Network:
    """The network of `--network`. Raises `Failure` (bad_request)."""
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise Failure("bad_request", f"--network: {error}; give one such as 127.1.0.0/16") from None
    # Addresses of a process on this machine; any other one would have to be set up first.
    if not network.subnet_of(LOOPBACK) or network.num_addresses < 4:  # noqa: PLR2004
        raise Failure("bad_request", f"--network: {text}: give at least a /30 within {LOOPBACK}")
    return network

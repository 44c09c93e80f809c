"""Control plane, gateway and workspaces of one machine in one process: what `hutch up` does.

Belongs here: starting both, ending both, the client that is made. Banned here: options and printing
(`hutch.cli`), anything that either of the two does. Everything listens on loopback alone, and the
workspaces end with it. Source: wire contract, section 0.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from hutch.control.clients import Credentials, creating
from hutch.control.composition import open_records
from hutch.control.serve import HANGING, Facing, Standing, run_control
from hutch.control.store import clients
from hutch.gateway.serve import listen, open_gateway
from hutch.server import Tls
from hutch.server.groups import unwrapped
from hutch.server.lifetime import end_anyway, obey_signals
from hutch.state import read_token, write_private, write_ready
from hutch.wire.control.config import ControlConfig
from hutch.wire.gateway import GatewayConfig, GatewayLimits

_ID: Final = "OBLIEN_CLIENT_ID"
_SECRET: Final = "OBLIEN_CLIENT_SECRET"  # noqa: S105  # the variable's name


@dataclass(frozen=True, kw_only=True, slots=True)
class UpConfig:
    """What `hutch up` was told; `control` has the directory and all that is on record in it."""

    control: ControlConfig
    gateway_port: int
    tls: Tls | None = None
    ready_file: Path | None = None
    gateway_limits: GatewayLimits = field(default_factory=GatewayLimits)

    @property
    def client_file(self) -> Path:
        """Two lines that a shell understands: the client's id and its secret, 0600."""
        return self.control.state_dir / "client.env"


@dataclass(frozen=True, slots=True)
class Up:
    """All of it, once it stands."""

    control_url: str
    gateway_url: str
    client: Credentials


def own_client(config: UpConfig) -> Credentials:
    """The client kept in the state directory, made where there is none. Blocks.

    Raises `Failure` where the records cannot be opened, OSError where the file cannot be written.
    """
    with open_records(config.control) as (store, vault):
        known = _read_client(config.client_file)
        if known is not None and store.read_now(partial(clients.find, identifier=known.id)):
            return known
        made = store.write_now(creating(vault, "hutch up"))
        text = f"{_ID}={made.id}\n{_SECRET}={made.secret}\n"
        write_private(config.client_file, text.encode("ascii"))
        return made


def _read_client(path: Path) -> Credentials | None:
    with suppress(OSError):
        lines = path.read_text("ascii", "replace").splitlines()
        found = dict(line.partition("=")[::2] for line in lines)
        if found.get(_ID) and found.get(_SECRET):
            return Credentials(found[_ID], found[_SECRET])
    return None


async def serve_up(
    config: UpConfig,
    client: Credentials,
    *,
    ready: Callable[[Up], None],
    warn: Callable[[str], None],
) -> None:
    """Runs until SIGTERM or SIGINT, then ends the workspaces too; SIGHUP reads the certificate.

    Raises as `run_control` and `listen` do.
    """
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with unwrapped(), trio.open_signal_receiver(*watched) as signals:
        async with trio.open_nursery() as nursery:
            shutdown = trio.Event()
            reloads = [] if config.tls is None else [config.tls.reload]
            nursery.start_soon(obey_signals, signals, shutdown, reloads, warn)
            limits = config.control.limits
            nursery.start_soon(partial(end_anyway, shutdown, limits, hanging=HANGING, warn=warn))
            await _serve(config, client, shutdown, ready)
            nursery.cancel_scope.cancel()


async def _serve(
    config: UpConfig, client: Credentials, shutdown: trio.Event, ready: Callable[[Up], None]
) -> None:
    async with trio.open_nursery() as nursery:
        run = partial(
            run_control,
            config.control,
            facing=Facing(tls=config.tls),
            shutdown=shutdown,
            ends_workspaces=True,
        )
        standing: Standing = await nursery.start(run)
        gateway = _gateway_config(config, standing)
        async with open_gateway(gateway) as opened, trio.open_nursery() as inner:
            listening = await listen(gateway, opened, inner, tls=config.tls, shutdown=shutdown)
            write_ready(
                config.ready_file,
                url=standing.url,
                instance=standing.control.instance,
                gateway_url=listening.url,
                admin_url=listening.admin_url,
            )
            ready(Up(standing.url, listening.url, client))


def _gateway_config(config: UpConfig, standing: Standing) -> GatewayConfig:
    return GatewayConfig(
        port=config.gateway_port,
        admin_port=0,
        control_url=standing.internal_url,
        credential=read_token(config.control.internal_token_file),
        networks=(config.control.network,),
        limits=config.gateway_limits,
    )

"""Configuration in, running gateway out: what `hutch gateway` does once it knows what to do.

Belongs here: the order of opening and closing, and the signals. Banned here: options and printing
(`hutch.cli`), anything about a single request.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from hutch.forward import Pool
from hutch.gateway.admin import Admin
from hutch.gateway.admission import Admission
from hutch.gateway.app import Application
from hutch.gateway.directory import Directory
from hutch.gateway.keyring import Keyring
from hutch.gateway.metrics import Metrics
from hutch.gateway.plane import Plane, Route, open_plane
from hutch.gateway.registry import Registry
from hutch.server import Running, ServerConfig, Tls, serve
from hutch.server.groups import unwrapped
from hutch.server.lifetime import obey_signals
from hutch.state import read_token, write_ready
from hutch.wire.gateway import GatewayConfig

# A connection, and the one to its workspace.
_DESCRIPTORS_EACH = 2


@dataclass(frozen=True, slots=True)
class Listening:
    """A gateway whose listeners stand."""

    url: str
    admin_url: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """What runs behind the listeners."""

    public: Application
    admin: Admin
    registry: Registry
    directory: Directory
    plane: Plane
    credential_file: Path | None

    def reload_credential(self) -> None:
        """Reads the credential for the control plane again. Raises `Failure`."""
        if self.credential_file is not None:
            self.plane.credential = read_token(self.credential_file)


@asynccontextmanager
async def open_gateway(config: GatewayConfig) -> AsyncIterator[Gateway]:
    """Everything but the listeners. Whatever is kept is known only here, and gone at the end."""
    seconds = config.limits.control_seconds
    async with (
        open_plane(config.control_url, config.credential, seconds=seconds) as plane,
        trio.open_nursery() as nursery,
    ):
        registry, pool, metrics = Registry(), Pool(config.limits), Metrics()
        keyring = Keyring(plane)

        def told(workspace_id: str, before: Route | None, now: Route | None) -> None:
            public.hear(workspace_id, before, now)

        directory = Directory(
            plane,
            nursery,
            stale_seconds=config.stale_for,
            told=told,
            live=registry.live,
        )
        admission = Admission(keyring, directory, config.networks)
        public = Application(
            config,
            admission=admission,
            keyring=keyring,
            registry=registry,
            pool=pool,
            metrics=metrics,
        )
        for name, text, value in (
            ("requests", "Requests under way", lambda: registry.requests),
            ("sockets", "WebSockets that are open", lambda: registry.sockets),
            ("kept_connections", "Idle connections to workspaces", lambda: len(pool)),
            ("known_workspaces", "Workspaces whose record is kept", lambda: len(directory)),
            ("in_contact", "1 while the control plane answers", lambda: directory.in_contact),
        ):
            metrics.gauge(name, text, value)
        nursery.start_soon(directory.follow)
        nursery.start_soon(keyring.follow)
        admin = Admin(admission=admission, keyring=keyring, metrics=metrics)
        try:
            yield Gateway(public, admin, registry, directory, plane, config.control_token_file)
        finally:
            pool.close()
        nursery.cancel_scope.cancel()


async def serve_gateway(
    config: GatewayConfig,
    *,
    ready: Callable[[Listening], None],
    warn: Callable[[str], None],
) -> None:
    """Runs until SIGTERM or SIGINT. `ready` is called once the listeners stand.

    Raises `Failure` where the configuration names what is not there, OSError where a port is taken.
    """
    tls = Tls.opened(config.tls_cert, config.tls_key, config.limits)
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with unwrapped(), trio.open_signal_receiver(*watched) as signals:
        async with open_gateway(config) as gateway, trio.open_nursery() as nursery:
            shutdown = trio.Event()
            reloads = [gateway.reload_credential]
            if tls is not None:
                reloads.append(tls.reload)
            nursery.start_soon(obey_signals, signals, shutdown, reloads, warn)
            listening = await listen(config, gateway, nursery, tls=tls, shutdown=shutdown)
            write_ready(
                config.ready_file,
                url=listening.url,
                instance=secrets.token_hex(8),
                admin_url=listening.admin_url,
            )
            ready(listening)


async def listen(
    config: GatewayConfig,
    gateway: Gateway,
    nursery: trio.Nursery,
    *,
    tls: Tls | None,
    shutdown: trio.Event,
) -> Listening:
    """Starts both listeners in `nursery`, which ends once `shutdown` has fired and all is over."""
    admin: Running = await nursery.start(
        _serve_admin,
        gateway,
        ServerConfig(host=config.admin_host, port=config.admin_port, limits=config.limits),
    )
    public = ServerConfig(
        host=config.host,
        port=config.port,
        limits=config.limits,
        tls=tls,
        descriptors_each=_DESCRIPTORS_EACH,
    )
    running: Running = await nursery.start(_serve_public, gateway, public, shutdown, nursery)
    return Listening(running.url, admin.url)


async def _serve_public(
    gateway: Gateway,
    server: ServerConfig,
    shutdown: trio.Event,
    all_of_it: trio.Nursery,
    *,
    task_status: trio.TaskStatus[Running],
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_close_sockets, shutdown, gateway.registry)
        await serve(gateway.public, server, shutdown=shutdown, task_status=task_status)
        nursery.cancel_scope.cancel()
    all_of_it.cancel_scope.cancel()


async def _serve_admin(
    gateway: Gateway, server: ServerConfig, *, task_status: trio.TaskStatus[Running]
) -> None:
    # Until the public one has ended: what drains can be watched.
    await serve(gateway.admin, server, shutdown=trio.Event(), task_status=task_status)


async def _close_sockets(shutdown: trio.Event, registry: Registry) -> None:
    await shutdown.wait()
    registry.close()

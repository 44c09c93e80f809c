"""Configuration in, running control plane out: what `hutch control` does.

Belongs here: the order of opening and closing, the two listeners, the signals. Banned here:
options and printing (`hutch.cli`), endpoints.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from hutch.control.composition import Control, open_control
from hutch.control.http.app import client_app, internal_app
from hutch.server import Running, ServerConfig, Tls, serve
from hutch.server.groups import unwrapped
from hutch.server.lifetime import end_anyway, obey_signals
from hutch.state import write_ready
from hutch.wire.config import is_loopback
from hutch.wire.control.config import ControlConfig

# What the process ends without; intentions on record are for the next start.
HANGING: Final = "the database"


@dataclass(frozen=True, slots=True)
class Standing:
    """A control plane whose listeners stand: for clients at `url`, for gateways at `internal_url`.

    A gateway's credential is in the file that the configuration names.
    """

    url: str
    internal_url: str
    control: Control


@dataclass(frozen=True, slots=True)
class Facing:
    """How it faces the network."""

    tls: Tls | None = None
    behind_proxy: bool = False


async def run_control(
    config: ControlConfig,
    *,
    facing: Facing,
    shutdown: trio.Event,
    ends_workspaces: bool = False,
    task_status: trio.TaskStatus[Standing] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `shutdown` fires; workspaces' servers run on unless `ends_workspaces`.

    Raises `Failure` where it cannot be opened, OSError where a port is taken.
    """
    async with open_control(config) as control:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer_waiting, control, shutdown)
            task_status.started(await _listen(config, control, facing, shutdown, nursery))
            await shutdown.wait()
            if ends_workspaces:
                await control.end_workspaces()
        if ends_workspaces:
            # What was under way meanwhile may have taken over one that ran already.
            await control.end_workspaces()


async def _listen(
    config: ControlConfig,
    control: Control,
    facing: Facing,
    shutdown: trio.Event,
    nursery: trio.Nursery,
) -> Standing:
    """Both listeners, in `nursery`, until `shutdown` fires."""
    inner = ServerConfig(
        host=config.internal_host,
        port=config.internal_port,
        limits=config.limits,
        # On this machine gateways need no certificate to trust.
        tls=None if is_loopback(config.internal_host) else facing.tls,
    )
    outer = ServerConfig(host=config.host, port=config.port, limits=config.limits, tls=facing.tls)
    internal: Running = await nursery.start(
        partial(serve, internal_app(control), inner, shutdown=shutdown)
    )
    app = client_app(control, behind_proxy=facing.behind_proxy)
    running: Running = await nursery.start(partial(serve, app, outer, shutdown=shutdown))
    write_ready(
        config.ready_file,
        url=running.url,
        instance=control.instance,
        internal_url=internal.url,
    )
    return Standing(running.url, internal.url, control)


async def _answer_waiting(control: Control, shutdown: trio.Event) -> None:
    await shutdown.wait()
    control.gateways.close()


async def serve_control(
    config: ControlConfig,
    *,
    facing: Facing,
    ready: Callable[[Standing], None],
    warn: Callable[[str], None],
) -> None:
    """Runs until SIGTERM or SIGINT; SIGHUP has certificate and credential read again.

    Raises as `run_control` does.
    """
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with unwrapped(), trio.open_signal_receiver(*watched) as signals:
        async with trio.open_nursery() as nursery:
            shutdown = trio.Event()
            reloads = [] if facing.tls is None else [facing.tls.reload]
            nursery.start_soon(obey_signals, signals, shutdown, reloads, warn)
            nursery.start_soon(
                partial(end_anyway, shutdown, config.limits, hanging=HANGING, warn=warn)
            )
            run = partial(run_control, config, facing=facing, shutdown=shutdown)

            def standing(told: Standing) -> None:
                reloads.append(told.control.credential.reload)
                ready(told)

            nursery.start_soon(_serve, run, standing, nursery.cancel_scope)


async def _serve(
    run: Callable[..., Awaitable[None]],
    ready: Callable[[Standing], None],
    all_of_it: trio.CancelScope,
) -> None:
    async with trio.open_nursery() as nursery:
        ready(await nursery.start(run))
    all_of_it.cancel()

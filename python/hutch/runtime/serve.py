"""Configuration in, running server out: what `hutch serve` does once it knows what to do.

Belongs here: the order of opening and closing, and the signals. Banned here: options and
printing (`hutch.cli`), endpoints, sockets.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from hutch.runtime.composition import Runtime, open_runtime
from hutch.runtime.http.app import Application
from hutch.runtime.http.auth import Tokens
from hutch.server import Idle, Running, ServerConfig, serve
from hutch.server.groups import unwrapped
from hutch.server.lifetime import end_anyway, obey_signals
from hutch.state import read_token, write_ready
from hutch.wire.config import Config


async def serve_runtime(
    config: Config,
    *,
    ready: Callable[[Running], None],
    warn: Callable[[str], None],
) -> None:
    """Runs until SIGTERM or SIGINT. `ready` is called once the listeners stand.

    Raises `Failure` where the runtime cannot be opened, OSError where the port is taken.
    """
    with unwrapped():
        await _serve_runtime(config, ready, warn)


async def end_leftovers(config: Config) -> None:
    """Ends what an earlier server of the state directory left running, as every start does.

    Opens no port. Raises `Failure` (conflict) where a server runs there.
    """
    with unwrapped():
        async with open_runtime(config):
            pass


async def _serve_runtime(
    config: Config, ready: Callable[[Running], None], warn: Callable[[str], None]
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            tokens, idle = Tokens(config.token), Idle()
            shutdown = trio.Event()
            reload = _reloading(config, tokens, idle, warn)
            nursery.start_soon(obey_signals, signals, shutdown, [reload], warn)
            hanging = "a change to a file"
            last = partial(end_anyway, shutdown, config.limits, hanging=hanging, warn=warn)
            nursery.start_soon(last)
            nursery.start_soon(_end_when_told, shutdown, runtime.commands.end)
            nursery.start_soon(_end_when_told, shutdown, runtime.terminals.end)
            app = Application(runtime, tokens)
            running: Running = await nursery.start(
                _serve, app, runtime, shutdown, idle, nursery.cancel_scope
            )
            write_ready(config.ready_file, url=running.url, instance=runtime.instance)
            ready(running)


async def _serve(
    app: Application,
    runtime: Runtime,
    shutdown: trio.Event,
    idle: Idle,
    all_of_it: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[Running],
) -> None:
    config = runtime.config
    server = ServerConfig(host=config.host, port=config.port, limits=config.limits)
    await serve(
        app,
        server,
        shutdown=shutdown,
        idle=idle,
        figures=runtime.figures,
        task_status=task_status,
    )
    all_of_it.cancel()


async def _end_when_told(shutdown: trio.Event, end: Callable[[], Awaitable[None]]) -> None:
    # At once, so that who waits for a command hears of its end within the grace.
    await shutdown.wait()
    await end()


def _reloading(
    config: Config, tokens: Tokens, idle: Idle, warn: Callable[[str], None]
) -> Callable[[], None]:
    def reload() -> None:
        if config.token_file is None:
            warn("SIGHUP: there is no token file to read again")
        elif tokens.replace(read_token(config.token_file)):
            # Those that the old token opened are among them; the rest lose a handshake.
            idle.drop()

    return reload

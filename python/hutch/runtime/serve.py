"""Configuration in, running server out: what `hutch serve` does once it knows what to do.

Belongs here: the order of opening and closing, and the signals. Banned here: options and
printing (`hutch.cli`), endpoints, sockets.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import trio

from hutch.runtime.composition import Runtime, open_runtime
from hutch.runtime.http.app import Application
from hutch.runtime.http.auth import Tokens
from hutch.server import Idle, Running, ServerConfig, serve
from hutch.server.groups import unwrapped
from hutch.state import read_token, write_ready
from hutch.wire.config import Config
from hutch.wire.errors import Failure

# After the grace, and so that both stay within ten seconds.
_HANGING_SECONDS: Final = 3.0


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


async def _serve_runtime(
    config: Config, ready: Callable[[Running], None], warn: Callable[[str], None]
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            tokens, idle = Tokens(config.token), Idle()
            shutdown = trio.Event()
            reload = _reloading(config, tokens, idle, warn)
            nursery.start_soon(_watch_signals, signals, shutdown, reload)
            nursery.start_soon(_end_anyway, config, shutdown, warn)
            nursery.start_soon(_end_when_told, shutdown, runtime.commands.end)
            nursery.start_soon(_end_when_told, shutdown, runtime.terminals.end)
            app = Application(runtime, tokens)
            running: Running = await nursery.start(
                _serve, app, runtime, shutdown, idle, nursery.cancel_scope
            )
            if config.ready_file is not None:
                write_ready(config.ready_file, url=running.url, instance=runtime.instance)
            ready(running)


async def _end_anyway(config: Config, shutdown: trio.Event, warn: Callable[[str], None]) -> None:
    """Once the server has to end, sees to it that it does.

    A change to a file is never abandoned, so one that hangs, on a mount for which nobody
    answers, would hold up the end for ever. Nobody was told that it was done.
    """
    await shutdown.wait()

    def end() -> None:
        warn("a change to a file hangs; the server ends without waiting for it")
        os._exit(1)

    last_resort = threading.Timer(config.limits.grace_seconds + _HANGING_SECONDS, end)
    last_resort.daemon = True
    last_resort.start()
    try:
        await trio.sleep_forever()
    finally:
        last_resort.cancel()


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


async def _watch_signals(
    signals: AsyncIterator[int], shutdown: trio.Event, reload: Callable[[], None]
) -> None:
    async for number in signals:
        if number == signal.SIGHUP:
            reload()
        else:
            shutdown.set()


def _reloading(
    config: Config, tokens: Tokens, idle: Idle, warn: Callable[[str], None]
) -> Callable[[], None]:
    def reload() -> None:
        if config.token_file is None:
            warn("SIGHUP: there is no token file to read again")
            return
        try:
            if tokens.replace(read_token(config.token_file)):
                # Those that the old token opened are among them; the rest lose a handshake.
                idle.drop()
        except Failure as failure:
            warn(f"SIGHUP: {failure.message}; the token in force stays")

    return reload

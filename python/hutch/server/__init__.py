"""Hypercorn on Trio, made safe: an ASGI application and a configuration in, a server out.

Belongs here: the one door, `serve`; the order in which a server starts and ends. Banned here:
anything that knows an endpoint or a token. Sockets, configuration and lifespan are
Hypercorn's; the connection protocol is ours (`connection` says why) and could be replaced
without anybody outside noticing.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan

from hutch.server.census import Census
from hutch.server.descriptors import inherited_limit, raise_limit
from hutch.server.figures import RequestFigures
from hutch.server.listening import accept, open_listeners
from hutch.server.memory import keep_freed_memory
from hutch.server.service import ASGIApp, Idle, Service
from hutch.server.stalls import Stalls
from hutch.server.tls import Tls
from hutch.wire.config import ServerLimits, SocketLimits

__all__ = ["Idle", "Running", "ServerConfig", "Tls", "inherited_limit", "serve"]

_LIFESPAN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server whose listeners stand."""

    url: str


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where to listen (port 0: a free one), and every bound and deadline.

    `descriptors_each` is how many descriptors a connection needs: two where each is answered
    over another one.
    """

    host: str
    port: int
    limits: ServerLimits
    tls: Tls | None = None
    descriptors_each: int = 1

    @property
    def sockets(self) -> SocketLimits:
        """Of WebSockets that end here; who only passes them on has nothing to set."""
        return self.limits if isinstance(self.limits, SocketLimits) else SocketLimits()


async def serve(
    app: ASGIApp,
    config: ServerConfig,
    *,
    shutdown: trio.Event,
    idle: Idle | None = None,
    figures: RequestFigures | None = None,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `shutdown` fires, then ends whatever clients do.

    At shutdown nothing more is accepted, connections that wait for a request are closed, and
    WebSockets told (1012); what is under way has `grace_seconds`, and is then cancelled and cut.
    `idle` is the caller's handle on the connections that wait for a request; `figures` count what
    is served. Raises OSError where the port is taken.
    """
    keep_freed_memory()
    room = raise_limit() // config.descriptors_each
    state: dict[str, Any] = {}
    with open_listeners(config.host, config.port, config.limits) as listeners:
        service = Service(
            app=app,
            limits=config.limits,
            sockets=config.sockets,
            census=Census(room),
            stalls=Stalls(config.limits),
            state=state,
            idle=Idle() if idle is None else idle,
            tls=config.tls,
            figures=figures,
        )
        if figures is not None:
            figures.look_at(service.census, service.stalls)
        async with _lifespan(app, state):
            task_status.started(Running(_url(listeners[0], config.tls)))
            await _serve(service, listeners, shutdown)


async def _serve(service: Service, listeners: list[socket.socket], shutdown: trio.Event) -> None:
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            if service.figures is not None:
                accepting.start_soon(service.figures.watch_lag)
            for one in listeners:
                accepting.start_soon(accept, one, service, connections)
            await shutdown.wait()
            accepting.cancel_scope.cancel()
        for one in listeners:
            one.close()
        service.close()
        connections.cancel_scope.deadline = trio.current_time() + service.limits.grace_seconds


@asynccontextmanager
async def _lifespan(app: ASGIApp, state: dict[str, Any]) -> AsyncIterator[None]:
    settings = Config()
    settings.shutdown_timeout = _LIFESPAN_SECONDS
    lifespan = Lifespan(ASGIWrapper(app), settings, state)
    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        yield
        await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel()


def _url(listener: socket.socket, tls: Tls | None) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

"""Listeners: made by Hypercorn's configuration, accepted from by us.

Belongs here: sockets that listen, their options, the accept loop. Banned here: what is said on a
connection. The loop neither dies nor spins: out of descriptors it closes the oldest stranger,
waits, and says so once a second.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import trio
from hypercorn.config import Config

from hutch.server.answers import plain_answer
from hutch.server.connection import serve_connection
from hutch.server.service import Service
from hutch.server.tls import TlsTransport
from hutch.server.transport import Transport
from hutch.wire.config import ServerLimits
from hutch.wire.errors import Failure

_log: Final = logging.getLogger("hutch.server")

_BACKLOG: Final = 1024
_RETRY_SECONDS: Final = 0.1
_LOG_SECONDS: Final = 1.0
# What the kernel takes ahead for a client that does not read. Its own bound is 4 MiB, and 500
# stalled readers would hold 2 GiB of kernel memory.
_UNSENT_BYTES: Final = 512 * 1024
_USER_TIMEOUT_MARGIN: Final = 30.0
_KEEPALIVE_IDLE: Final = 60  # seconds of silence before the kernel asks
_KEEPALIVE_INTERVAL: Final = 15
# The kernel or the peer, not us: the next accept may well succeed.
_PASSING: Final = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EPERM})


@contextmanager
def open_listeners(host: str, port: int, limits: ServerLimits) -> Iterator[list[socket.socket]]:
    """Sockets that listen on host and port, closed at the end.

    Raises OSError, which names both: a port that is taken, an address that is none.
    """
    config = Config()
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    config.bind = [bind]
    try:
        sockets = config.create_sockets().insecure_sockets
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {bind}: {error.strerror}") from error
    try:
        for one in sockets:
            # Hypercorn passes listeners on to worker processes; ours must reach no child.
            one.set_inheritable(False)
            _set_options(one, limits)
            one.listen(_BACKLOG)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def _set_options(listener: socket.socket, limits: ServerLimits) -> None:
    """On the listener, so that every connection has them from its first packet on."""
    # It counts a window of zero too, so it must outlast the deadline of a send.
    milliseconds = int((limits.send_idle_seconds + _USER_TIMEOUT_MARGIN) * 1000)
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES),
    ):
        listener.setsockopt(level, option, value)


async def accept(listener: socket.socket, service: Service, connections: trio.Nursery) -> None:
    """Accepts until cancelled; each connection lives in `connections`."""
    logged = -_LOG_SECONDS
    while True:
        try:
            connected, _ = listener.accept()
        except BlockingIOError:
            await trio.lowlevel.wait_readable(listener)
            continue
        except OSError as error:
            if error.errno in _PASSING:
                await trio.lowlevel.checkpoint()
                continue
            if trio.current_time() - logged >= _LOG_SECONDS:
                logged = trio.current_time()
                _log.error("cannot accept a connection: %s", error.strerror)
            service.census.shed()
            await trio.sleep(_RETRY_SECONDS)
            continue
        connected.setblocking(False)
        _admit(connected, service, connections)
        await trio.lowlevel.checkpoint()


def _admit(connected: socket.socket, service: Service, connections: trio.Nursery) -> None:
    transport = _transport(connected, service)
    if service.census.admit(transport):
        connections.start_soon(partial(serve_connection, service, transport, connected))
        return
    if service.tls is None:
        failure = Failure("unavailable", "too many connections; try again")
        with suppress(OSError):  # it may not wait for the answer
            connected.send(plain_answer(failure))
    transport.close()


def _transport(connected: socket.socket, service: Service) -> Transport:
    if service.tls is None:
        return Transport(connected, service.stalls)
    return TlsTransport(connected, service.stalls, service.tls, service.limits)

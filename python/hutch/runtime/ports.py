"""The ports of applications in the workspace, on loopback.

Belongs here: which target may be reached, and the connections there. Banned here: requests and
what a target's name is spelled like in them. Nothing is ever resolved: a name could lead anywhere.
Source: wire contract, section 8.

No connection is used twice. An application under development is restarted at any moment, and
one that serves a single client at a time would be kept from all others by one that idles; to
connect over loopback costs a tenth of a millisecond.
"""

from __future__ import annotations

import re
from typing import Final

from hutch.forward import Forwarder, Upstream
from hutch.wire.config import Limits
from hutch.wire.errors import Failure
from hutch.wire.paths import shorten

_PORT: Final = re.compile(rb"[1-9][0-9]{0,4}")
_MOST_PORT: Final = 65535
_HOSTS: Final = {
    b"localhost": ("127.0.0.1", "::1"),
    b"127.0.0.1": ("127.0.0.1",),
    b"[::1]": ("::1",),
}


class Ports:
    """The service that leads to ports; `forwarder` carries the requests."""

    def __init__(self, limits: Limits) -> None:
        self.forwarder = Forwarder(limits)

    def find(self, target: bytes, *, own_port: int | None) -> Upstream:
        """Where `<port>` or `<host>:<port>` leads.

        A bare port is tried at 127.0.0.1, then at ::1, and so is one of localhost. Raises
        `Failure`: bad_request where there is no port, forbidden for another host and for this
        server's own port.
        """
        host, colon, port = target.rpartition(b":")
        number = _number(port, target)
        hosts = _HOSTS.get(host.lower() if colon else b"localhost")
        if hosts is None:
            raise Failure(
                "forbidden",
                f"target {_shown(target)}: only 127.0.0.1, [::1] and localhost are reached",
            )
        if number == own_port:
            raise Failure("forbidden", f"target {_shown(target)}: this server's own port")
        return Upstream(f"port {number}", tuple((one, number) for one in hosts))


def _number(port: bytes, target: bytes) -> int:
    if _PORT.fullmatch(port) is None or int(port) > _MOST_PORT:
        raise Failure(
            "bad_request",
            f"target {_shown(target)}: give a port, 1 to {_MOST_PORT}, or host:port",
        )
    return int(port)


def _shown(target: bytes) -> str:
    return repr(shorten(target.decode("utf-8", "replace")))

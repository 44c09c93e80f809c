"""Gateways in a test's own Trio run, between raw clients and workspaces that the test writes.

Belongs here: starting `hutch.gateway`, and `Gate`. Banned here: what is to be true.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import trio

from hutch.gateway.serve import Gateway, Listening, listen, open_gateway
from hutch.wire.gateway import GatewayConfig, GatewayLimits, parse_networks
from tests.gateway.plane import CREDENTIAL, Plane, Workspace
from tests.server.site import PATIENCE, Application, Server, Site, eventually

CALM = GatewayLimits(drain_seconds=0.3, grace_seconds=0.3, control_seconds=1.0)


def asking(token: str, path: str = "/", *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: gate.test", f"Authorization: Bearer {token}"]
    return "".join(f"{line}\r\n" for line in (*lines, *headers)).encode("latin-1") + b"\r\n"


def handshake(path: str, *headers: str) -> bytes:
    """A client's opening handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: gate.test",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


async def until(holds: Callable[[], Awaitable[bool]], *, seconds: float = PATIENCE) -> None:
    """Asks until it holds; fails where that takes longer than `seconds`."""
    with trio.fail_after(seconds):
        while not await holds():  # noqa: ASYNC110  # what another process does tells nobody
            await trio.sleep(0.01)


@dataclass
class Gate:
    """A gateway under test, and what stands behind it."""

    site: Site
    plane: Plane
    server: Server
    admin: Server
    gateway: Gateway

    async def workspace(self, app: Application, name: str = "ws", **fields: Any) -> Workspace:
        """A workspace whose server is `app`; the gateway has heard of it, where it can hear."""
        server = await self.site.serve(app)
        made = self.known(server.port, name, **fields)
        if self.gateway.directory.in_contact:
            await self.settled()
        return made

    def known(self, port: int, name: str = "ws", **fields: Any) -> Workspace:
        """A workspace on record at a port of 127.0.0.1."""
        told = {"address": "127.0.0.1", "port": port, "token": f"raw-token-of-{name}", **fields}
        return self.plane.add(Workspace(name, **told))

    def asking(
        self,
        workspace: Workspace,
        path: str = "/",
        *headers: str,
        method: str = "GET",
        **claims: Any,
    ) -> bytes:
        return asking(self.plane.token(workspace, **claims), path, *headers, method=method)

    async def settled(self) -> None:
        """What the plane has told was heard."""
        sequence, directory = self.plane.sequence, self.gateway.directory
        await eventually(lambda: directory.sequence == sequence, "the change was not heard")

    async def status(self, raw: bytes) -> int:
        """How a request is answered."""
        return (await self.server.ask(raw)).status


class Gates:
    """Starts gateways, and ends them."""

    def __init__(self, nursery: trio.Nursery, site: Site, plane: Plane) -> None:
        self._nursery = nursery
        self._site = site
        self._plane = plane
        self._gates: list[Gate] = []

    async def open(
        self, *, tls: Any = None, limits: dict[str, float] | None = None, **rest: Any
    ) -> Gate:
        """A gateway that is in contact with its control plane, where that one answers."""
        given: dict[str, Any] = {
            "port": 0,
            "admin_port": 0,
            "control_url": self._plane.url,
            "credential": CREDENTIAL,
            "networks": parse_networks(("127.0.0.0/8",)),
            "limits": replace(CALM, **(limits or {})),  # type: ignore[arg-type]  # as given
            **rest,
        }
        gate: Gate = await self._nursery.start(self._run, GatewayConfig(**given), tls)
        self._gates.append(gate)
        with trio.move_on_after(1.0):
            while not gate.gateway.directory.in_contact:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.002)
        return gate

    async def _run(
        self, config: GatewayConfig, tls: Any, *, task_status: trio.TaskStatus[Gate]
    ) -> None:
        shutdown, ended = trio.Event(), trio.Event()
        async with open_gateway(config) as gateway, trio.open_nursery() as nursery:
            told: Listening = await listen(config, gateway, nursery, tls=tls, shutdown=shutdown)
            server = Server(told.url, shutdown, ended)
            admin = Server(told.admin_url, trio.Event(), trio.Event())
            task_status.started(Gate(self._site, self._plane, server, admin, gateway))
        ended.set()

    async def close(self) -> None:
        for one in self._gates:
            for wire in (*one.server.wires, *one.admin.wires):
                await wire.stream.aclose()
            await one.server.stop()

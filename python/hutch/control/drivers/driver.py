"""The protocol of drivers.

Every call is about one workspace, and there is one at a time for each workspace. Every call brings
about what it names, from whatever there is: asked twice it does nothing the second time, asked
again after a crash it finishes what was begun. That is how an intention on record becomes true.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from hutch.wire.control.network import Policy

PORT = 9990


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a workspace should be: `serving` says whether the server in it runs, with `token`."""

    id: str
    ip: str
    port: int
    token: str = field(repr=False)
    serving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a workspace is: whether its server answers to the plan's token, and which one it is."""

    serving: bool
    instance: str | None = None


class Driver(Protocol):
    """A way to run workspaces.

    Calls raise `Failure` (unavailable) where something cannot be brought about now.
    """

    @property
    def honours(self) -> frozenset[str]:
        """What a workspace is created with that is honoured: `image`, `cpus`, `config.env` ..."""
        ...

    @property
    def enforces(self) -> frozenset[str]:
        """The fields of `Policy` that can be changed; the gateway keeps `public_access`."""
        ...

    @property
    def link_warnings(self) -> tuple[str, ...]:
        """What a private link does not give here."""
        ...

    @property
    def addresses(self) -> int:
        """How many addresses there are, numbered from 1."""
        ...

    def address(self, number: int) -> str:
        """The address of a number."""
        ...

    def gateway(self, ip: str) -> str:
        """What a workspace at `ip` sees as its gateway."""
        ...

    def is_free(self, number: int) -> bool:
        """Whether nothing else is at an address, as far as can be seen; called in a thread."""
        ...

    async def create(self, plan: Plan) -> None:
        """Makes what a workspace needs to be started."""
        ...

    async def start(self, plan: Plan) -> None:
        """Has the workspace run, and the server in it as `plan.serving` says, with its token."""
        ...

    async def stop(self, plan: Plan) -> None:
        """Has nothing of it run; what it keeps on disk stays."""
        ...

    async def delete(self, plan: Plan) -> None:
        """Has nothing of it left."""
        ...

    async def apply_policy(self, plan: Plan, policy: Policy, peers: tuple[str, ...]) -> None:
        """Puts a policy into force; `peers` are the addresses that may reach it."""
        ...

    async def health(self, plan: Plan) -> Health:
        """How it is, asked now."""
        ...

    async def lost(self) -> str:
        """Waits until a server ends that nobody stopped; its workspace's id."""
        ...

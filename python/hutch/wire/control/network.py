"""A workspace's network, on the wire.

Belongs here: the policy, its change, its answer. Banned here: who enforces what.
Source: wire contract, section 9.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Port = Annotated[int, Meta(ge=1, le=65535)]
Words = Annotated[list[Annotated[str, Meta(min_length=1, max_length=255)]], Meta(max_length=256)]
Ports = Annotated[list[Port], Meta(max_length=256)]
Mode = Literal["managed", "custom"]


class Policy(Struct, frozen=True, kw_only=True):
    """Who may reach a workspace, and what it may reach."""

    public_access: bool = False
    allow_internet: bool = True
    ingress: Words = []
    ingress_ports: Ports = []
    egress: Words = []
    egress_ports: Ports = []
    outbound_ip: str | None = None
    outbound_mode: Mode = "managed"


class PolicyBody(Struct, frozen=True, kw_only=True):
    """The body of `PATCH /workspace/{id}/network`: only what is given changes.

    `private_link_ids` replaces the list of workspaces that may reach this one.
    """

    private_link_ids: (
        Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(max_length=256)] | UnsetType
    ) = UNSET
    public_access: bool | UnsetType = UNSET
    allow_internet: bool | UnsetType = UNSET
    ingress: Words | UnsetType = UNSET
    ingress_ports: Ports | UnsetType = UNSET
    egress: Words | UnsetType = UNSET
    egress_ports: Ports | UnsetType = UNSET
    outbound_ip: Annotated[str, Meta(max_length=45)] | UnsetType | None = UNSET
    outbound_mode: Mode | UnsetType = UNSET
    custom_proxy: dict[str, Any] | UnsetType = UNSET


class PrivateLink(Struct, frozen=True, kw_only=True):
    """A workspace that may reach this one."""

    workspace_id: str
    ip: str


class NetworkAnswer(Struct, frozen=True, kw_only=True):
    """The network of a workspace, flat."""

    ip: str
    gateway: str
    public_access: bool
    allow_internet: bool
    ingress: list[str]
    ingress_ports: list[int]
    egress: list[str]
    egress_ports: list[int]
    outbound_ip: str | None
    outbound_mode: Mode
    private_links: list[PrivateLink]
    warnings: list[str] = []
    success: Literal[True] = True

"""What the control plane tells gateways, and nobody else.

Belongs here: `/routes/{id}`, `/changes`, `/keys`. Banned here: what a gateway makes of them.
Source: wire contract, section 9, "a second listener".
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType


class RouteAnswer(Struct, frozen=True, kw_only=True):
    """Where a workspace's server is, and who may be let through to it.

    `generation` is the one that a token must carry; `token` the raw one, to be put in its place.
    """

    workspace_id: str
    address: str
    port: int
    token: str
    generation: int
    enabled: bool
    running: bool
    public_access: bool


class ChangesQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /changes`: `since` the last `seq` seen, `wait` in seconds."""

    since: Annotated[int, Meta(ge=0, le=2**53)] = 0
    wait: Annotated[int, Meta(ge=0, le=3600)] = 0


class ChangesAnswer(Struct, frozen=True, kw_only=True):
    """Workspaces that changed after `since`; or `reset`: forget everything, begin at `seq`."""

    seq: int
    workspaces: list[str] | UnsetType = UNSET
    reset: bool | UnsetType = UNSET


class KeyAnswer(Struct, frozen=True, kw_only=True):
    """A public key, as a JWK (RFC 8037)."""

    kid: str
    kty: str
    crv: str
    x: str


class KeysAnswer(Struct, frozen=True, kw_only=True):
    """The keys whose tokens may still be good."""

    keys: list[KeyAnswer]

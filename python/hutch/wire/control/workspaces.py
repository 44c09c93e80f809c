"""Workspaces on the wire.

Belongs here: the shapes and answers of `/workspace` and below. Banned here: what a driver can do.
Source: wire contract, section 9; the npm package's `types/workspace.d.ts`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

# No NUL: not every database takes one.
_TEXT = "^[^\\x00]*$"
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=_TEXT)]
# Where `$` alone would take a line's end too.
_SLUG = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$(?!\n)"
Slug = Annotated[str, Meta(min_length=3, max_length=128, pattern=_SLUG)]
Mode = Literal["permanent", "temporary"]
Status = Literal["creating", "running", "stopped", "failed"]
Cpus = Annotated[int, Meta(ge=1, le=1024)] | Annotated[float, Meta(gt=0, le=1024)]
Megabytes = Annotated[int, Meta(ge=1, le=2**40)]


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a workspace was asked to have. Megabytes are those of the client's words."""

    cpus: Cpus | None = None
    memory_mb: Megabytes | None = None
    disk_size_mb: Megabytes | None = None


class CreateBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /workspace`.

    `config` holds what the named fields don't; resources may stand in it too. `idempotency_key`
    makes a repeated request lead to the workspace that the first one made, for 24 hours.
    `wait_ready` false answers at once, with the workspace perhaps still being made.
    """

    name: Name | None = None
    slug: Slug | None = None
    image: Annotated[str, Meta(max_length=512, pattern=_TEXT)] = ""
    namespace: Annotated[str, Meta(min_length=1, max_length=128, pattern=_TEXT)] | None = None
    mode: Mode = "permanent"
    cpus: Cpus | None = None
    memory_mb: Megabytes | None = None
    disk_size_mb: Megabytes | None = None
    config: dict[str, Any] = {}
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=128, pattern=_TEXT)] | None = None
    wait_ready: bool = True


class UpdateBody(Struct, frozen=True, kw_only=True):
    """The body of `PUT /workspace/{id}`: only what is given changes; null clears."""

    name: Name | UnsetType = UNSET
    slug: Slug | UnsetType | None = UNSET
    logo: Annotated[str, Meta(max_length=2048, pattern=_TEXT)] | UnsetType | None = UNSET
    config: dict[str, Any] | UnsetType = UNSET


class ListQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /workspace`."""

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    status: Status | None = None
    mode: Mode | None = None
    namespace: Annotated[str, Meta(max_length=128)] | None = None


class Info(Struct, frozen=True, kw_only=True):
    """The status once more, as the package reads it."""

    status: Status
    is_running: bool


class ProvisioningError(Struct, frozen=True, kw_only=True):
    """Why a workspace could not be made."""

    code: str
    message: str


class Provisioning(Struct, frozen=True, kw_only=True):
    """How far the making of a workspace is; null once it is made."""

    state: Literal["running", "failed"]
    phase: Literal["preparing", "failed"]
    message: str
    error: ProvisioningError | None = None


class Workspace(Struct, frozen=True, kw_only=True):
    """One workspace."""

    id: str
    slug: str | None
    name: str
    status: Status
    ready: bool
    info: Info
    provisioning: Provisioning | None
    mode: Mode
    image: str
    namespace: str | None
    logo: str | None
    resources: Resources
    config: dict[str, Any]
    warnings: list[str]
    created_at: str
    updated_at: str


class WorkspaceAnswer(Struct, frozen=True, kw_only=True):
    """A workspace; `warnings` name what was recorded and cannot be honoured."""

    workspace: Workspace
    warnings: list[str] = []
    success: Literal[True] = True


class WorkspacesAnswer(Struct, frozen=True, kw_only=True):
    """One page of a client's workspaces, the newest first."""

    workspaces: list[Workspace]
    total: int
    page: int
    limit: int
    success: Literal[True] = True


class DeletedAnswer(Struct, frozen=True, kw_only=True):
    """The answer of `DELETE /workspace/{id}`."""

    id: str
    deleted: Literal[True] = True
    success: Literal[True] = True

"""What is on record, as the domain sees it.

Belongs here: frozen records. Banned here: tables, JSON, HTTP. Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hutch.wire.control.network import Policy
from hutch.wire.control.workspaces import Mode, ProvisioningError, Resources

Wanted = Literal["running", "stopped", "deleted"]
Made = Literal["making", "made", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who asks: `digest` is the keyed hash of the secret."""

    id: str
    name: str
    digest: bytes = field(repr=False)
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A workspace as it is meant to be.

    `wanted` and `enabled` are intentions: they are recorded before anything is done about them,
    and whatever was not done when the process ended is done at its next start. `sealed` is the raw
    token, encrypted. `generation` is the one that a good gateway token carries.
    """

    id: str
    client_id: str
    slug: str | None
    name: str
    mode: Mode
    image: str
    namespace: str | None
    logo: str | None
    resources: Resources
    config: Mapping[str, Any]
    wanted: Wanted
    made: Made
    problem: ProvisioningError | None
    ip: str
    port: int
    sealed: bytes = field(repr=False)
    generation: int
    enabled: bool
    policy: Policy
    created_at: int
    updated_at: int

    @property
    def is_running(self) -> bool:
        """Whether the workspace itself runs; its server does only where `enabled` too."""
        return self.wanted == "running" and self.made == "made"

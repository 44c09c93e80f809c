"""What the runtime says about itself.

Belongs here: the answers of `/health`, `/runtime`, `/runtimes`, `/desktop/status`, and how a path
names a runtime. Banned here: finding the facts out (`hutch.runtime.system`).
Source: wire contract, section 1.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

PROTOCOL_VERSION = 1

_LOCAL: Final = "/runtimes/local/"


def local_path(path: str) -> str:
    """The path without `/runtimes/local`: both spellings lead to the same place."""
    while path.startswith(_LOCAL):
        path = path[len(_LOCAL) - 1 :]
    return path


class Health(Struct, frozen=True, kw_only=True):
    """The answer of `GET /health`, open to all."""

    status: Literal["ok"] = "ok"


class RuntimeInfo(Struct, frozen=True, kw_only=True):
    """What this runtime is and can do."""

    os: str
    arch: str
    cpus: int
    home: str
    shell: str
    protocol_version: int
    capabilities: list[str]
    version: str


class RuntimeAnswer(RuntimeInfo, frozen=True, kw_only=True):
    """The answer of `GET /runtime`: the facts, flat."""

    success: Literal[True] = True


class Target(Struct, frozen=True, kw_only=True):
    """One runtime that requests can be addressed to."""

    id: str
    local: bool
    available: bool
    runtime: RuntimeInfo


class Targets(Struct, frozen=True, kw_only=True):
    """The answer of `GET /runtimes`."""

    targets: list[Target]
    success: Literal[True] = True
    version: int = 1
    default_target: str = "local"


class DesktopStatus(Struct, frozen=True, kw_only=True):
    """The answer of `GET /desktop/status`: there is no desktop here, and that is no error."""

    success: Literal[True] = True
    supported: bool = False
    enabled: bool = False
    available: bool = False
    credentials: bool = False
    transports: list[str] = []

"""The rules of workspaces: what may be asked, and what follows from it.

Belongs here: decisions that need nothing but their arguments. Banned here: I/O, clocks, tables.
Source: wire contract, section 9.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hutch.control.records import Record
from hutch.wire.control.network import Policy, PolicyBody
from hutch.wire.control.workspaces import (
    CreateBody,
    Info,
    Provisioning,
    Resources,
    Status,
    Workspace,
)
from hutch.wire.errors import Failure
from hutch.wire.paths import shorten

_RESOURCES: Final = ("cpus", "memory_mb", "disk_size_mb")
_NO_SLUG: Final = re.compile(r"[^a-z0-9]+")
_SLUG_MOST: Final = 100
_SLUG_LEAST: Final = 3


def new_id() -> str:
    """A workspace's id. No slug can look like one: slugs have no underscore."""
    return f"ws_{secrets.token_hex(8)}"


def new_token() -> str:
    """A raw token: 256 random bits, in hex as the reference shows it."""
    return secrets.token_hex(32)


def slug_of(name: str) -> str:
    """A slug made of a name, with something random where the name gives too little."""
    slug = _NO_SLUG.sub("-", name.lower()).strip("-")[:_SLUG_MOST].strip("-")
    return slug if len(slug) >= _SLUG_LEAST else f"{slug or 'workspace'}-{secrets.token_hex(3)}"


def rfc3339(microseconds: int) -> str:
    """A time as the wire has it: UTC, whole seconds."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fingerprint(asked: CreateBody) -> bytes:
    """What two requests with one idempotency key must share; waiting is no part of it."""
    whole = msgspec.to_builtins(asked)
    bare = {k: v for k, v in whole.items() if k not in ("wait_ready", "idempotency_key")}
    return hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).digest()


def resources_of(asked: CreateBody) -> Resources:
    """Resources by name or in `config`; by name counts. Raises `Failure` (bad_request)."""
    given = {name: asked.config.get(name) for name in _RESOURCES}
    given |= {name: v for name in _RESOURCES if (v := getattr(asked, name)) is not None}
    try:
        return msgspec.convert(given, Resources)
    except msgspec.ValidationError as error:
        words, _, where = str(error).partition(" - at `$.")
        raise Failure("bad_request", f"config.{where.rstrip('`')}: {words}") from None


def config_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """`config` without the resources, which have fields of their own, and without nulls."""
    return {k: v for k, v in given.items() if k not in _RESOURCES and v is not None}


def warnings(record: Record, honours: Iterable[str]) -> list[str]:
    """What is on record and cannot be honoured by a driver that honours `honours`."""
    asked = {
        "image": record.image,
        **msgspec.to_builtins(record.resources),
        "mode": record.mode if record.mode == "temporary" else "",
        **{f"config.{name}": True for name in record.config},
    }
    names = [name for name, value in asked.items() if value and name not in set(honours)]
    return [
        f"{name}: recorded; this way of running workspaces does not honour it" for name in names
    ]


def status_of(record: Record) -> Status:
    """One word for what a workspace is."""
    if record.made != "made":
        return "creating" if record.made == "making" else "failed"
    return "running" if record.wanted == "running" else "stopped"


def _provisioning(record: Record) -> Provisioning | None:
    if record.made == "making":
        return Provisioning(state="running", phase="preparing", message="being made")
    if record.made == "failed":
        words = "could not be made" if record.problem is None else record.problem.message
        return Provisioning(state="failed", phase="failed", message=words, error=record.problem)
    return None


def shown(record: Record, honours: Iterable[str]) -> Workspace:
    """A workspace as its client sees it."""
    status = status_of(record)
    return Workspace(
        id=record.id,
        slug=record.slug,
        name=record.name,
        status=status,
        ready=record.is_running,
        info=Info(status=status, is_running=record.is_running),
        provisioning=_provisioning(record),
        mode=record.mode,
        image=record.image,
        namespace=record.namespace,
        logo=record.logo,
        resources=record.resources,
        config=dict(record.config),
        warnings=warnings(record, honours),
        created_at=rfc3339(record.created_at),
        updated_at=rfc3339(record.updated_at),
    )


def new_policy(now: Policy, asked: PolicyBody, enforces: frozenset[str]) -> Policy:
    """The policy that a change leads to; what is asked as it is anyway needs no enforcing.

    Raises `Failure` (unsupported) for the first field that the driver cannot enforce.
    """
    changed = {
        name: value
        for name in Policy.__struct_fields__
        if (value := getattr(asked, name)) is not UNSET and value != getattr(now, name)
    }
    if asked.custom_proxy is not UNSET:
        changed["custom_proxy"] = asked.custom_proxy
    for name in changed:
        if name not in enforces:
            raise Failure(
                "unsupported",
                f"{name}: this way of running workspaces cannot enforce it; nothing was changed",
            )
    return msgspec.structs.replace(now, **changed)


def check_links(record: Record, peers: Iterable[str]) -> tuple[str, ...]:
    """Ids to be linked, each once. Raises `Failure` (bad_request) for the workspace itself."""
    wanted = tuple(dict.fromkeys(peers))
    if record.id in wanted or (record.slug is not None and record.slug in wanted):
        raise Failure("bad_request", f"private_link_ids: {record.id} cannot be linked to itself")
    return wanted


def may_exist(name: str) -> bool:
    """Whether anything can have this name; what cannot is not shown to a database, which may
    refuse NUL, or text that is no Unicode."""
    return name.isascii() and name.isprintable()


def missing(name: str) -> Failure:
    """What whoever asks for a workspace that is not theirs, or is none, is told."""
    return Failure("not_found", f"no such workspace: {shorten(name)}")

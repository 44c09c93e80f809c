"""What is protected from removal, and the words of an account that is not whole.

Belongs here: the protected paths of this server, and what changes to trees have in common when
they stop half-way. Banned here: the changes themselves (`remove`, `copy`, `chmod`).
Source: wire contract, section 2, "Delete".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hutch.wire.errors import Code, Failure, from_os_error
from hutch.wire.paths import display, path_fields
from hutch.wire.remove import PROTECTED

_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def protected_paths(state_dir: Path) -> list[bytes]:
    """The paths that nobody may take away, the state directory among them."""
    # Without it the server forgets its token and what it owes to files half written.
    return [*PROTECTED, os.path.abspath(os.fsencode(state_dir))]  # noqa: PTH100


def demand_free(path: bytes, protected: bytes | None, *, what: str) -> None:
    """Raises `Failure` (forbidden) where a protected path was met; `what` was not done."""
    if protected is None:
        return
    relation = "is" if protected == path else f"is, or holds, {display(protected)}, which is"
    raise Failure("forbidden", f"{display(path)} {relation} protected; nothing was {what}")


def demand_unmounted(mounts: Sequence[bytes], *, what: str) -> None:
    """Raises `Failure` (conflict) where mount points are in the way; `what` was not done."""
    if mounts:
        raise Failure(
            "conflict",
            f"a mount point is in the way: {display(mounts[0])}; unmount it first; "
            f"nothing was {what}",
            extra={"mounts": [path_fields(one) for one in mounts]},
        )


def code_of(errors: Sequence[tuple[bytes, int]], cut: str | None) -> Code:
    """The code for an account that stopped half-way."""
    if cut == "late":
        return "timeout"
    numbers = {number for _, number in errors}
    if numbers & _FULL:
        return "insufficient_storage"
    return "forbidden" if numbers and numbers <= _FORBIDDEN else "conflict"


def told_errors(errors: Sequence[tuple[bytes, int]], failures: int) -> dict[str, object]:
    """`errors` for an answer, and whether some are missing."""
    told: dict[str, object] = {"errors": [_told(path, number) for path, number in errors]}
    if failures > len(errors):
        told["errors_truncated"] = True
    return told


def first_error(errors: Sequence[tuple[bytes, int]]) -> str:
    """A sentence of why an account is not whole."""
    return str(_told(*errors[0])["error"]) if errors else "the time is up"


def _told(path: bytes, number: int) -> dict[str, object]:
    return {**path_fields(path), "error": from_os_error(OSError(number, ""), path=path).message}

"""What a program finds when it starts: its environment, its user, its directory.

Belongs here: the variables it inherits and whom it runs as. Banned here: starting it. All of it
may wait for a disk: it runs in a lane.
Source: wire contract, section 4, `env` and `user`; section 5, "the shell is".
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from functools import cache
from typing import Final

from hutch.runtime.processes.programs import DEFAULT_PATH
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.paths import display

_OWN: Final = "HUTCH_"
# What a shell told the server of the server itself.
_STALE: Final = ("OLDPWD", "_", "SHLVL")


@dataclass(frozen=True, slots=True)
class User:
    """Whom to run as; `ids` (uid, gid, groups) is None for the server's own user."""

    ids: tuple[int, int, list[int]] | None
    variables: dict[str, str]


OURSELVES: Final = User(None, {})


def find_user(given: str | int | None) -> User:
    """The user of a name or number. Raises `Failure` (bad_request)."""
    if given is None:
        return OURSELVES
    try:
        is_number = isinstance(given, int) or given.isdigit()
        entry = pwd.getpwuid(int(given)) if is_number else pwd.getpwnam(str(given))
    except (KeyError, OverflowError, ValueError):
        raise Failure("bad_request", f"user: no such user: {str(given)[:100]}") from None
    if os.geteuid() != 0:
        if entry.pw_uid == os.geteuid():
            return OURSELVES
        raise Failure("bad_request", "user: only a server that runs as root can switch users")
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    variables = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    return User((entry.pw_uid, entry.pw_gid, groups), variables)


def environment(given: dict[str, str], user: User, directory: bytes) -> dict[str, str]:
    """The server's, without what is the server's own, then the user's, then what was asked for."""
    return _inherited() | {"PWD": os.fsdecode(directory)} | user.variables | given


@cache
def _inherited() -> dict[str, str]:
    """What the server was started with, which does not change."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OWN) and k not in _STALE}
    return {"PATH": DEFAULT_PATH} | kept


def login_shell() -> str:
    """`$SHELL`, else `/bin/bash`, else `/bin/sh`."""
    shell = os.environ.get("SHELL", "")
    for candidate in (shell, "/bin/bash"):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    return "/bin/sh"


def require_directory(directory: bytes) -> None:
    """Raises `Failure` (bad_request) where a program cannot start in it.

    To be asked before the program is looked for: relative ones begin there.
    """
    try:
        mode = os.stat(directory).st_mode  # noqa: PTH116  # Path knows no bytes
    except PermissionError:
        return
    except OSError as error:
        raise bad_directory(error, directory) from error
    if not stat.S_ISDIR(mode):
        raise Failure("bad_request", f"cwd: not a directory: {display(directory)}")


def bad_directory(error: OSError, directory: bytes) -> Failure:
    """The failure that says why a program cannot start there."""
    told = from_os_error(error, path=directory)
    return Failure("bad_request", f"cwd: {told.message}")

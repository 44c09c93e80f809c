"""Starting a command: its pipes, its environment, its user, its cgroup, and the spawn.

Belongs here: everything between a checked request and a running process, and the sentences for
what goes wrong on the way. All of it may wait for a disk: it runs in a lane. Banned here: what
happens to the process afterwards (`supervise`).
Source: wire contract, section 4; design, section 3, "Processes".
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from typing import Final

from hutch import _native
from hutch.runtime.exec import modes, sessions
from hutch.runtime.exec.cgroups import Cgroup, Cgroups
from hutch.runtime.exec.tree import Tree
from hutch.server import inherited_limit
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.exec import ExecBody
from hutch.wire.paths import display

_OWN: Final = "HUTCH_"
# What a shell told the server of the server itself.
_STALE: Final = ("OLDPWD", "_", "SHLVL")


@dataclass(frozen=True, slots=True)
class Started:
    """A running process and our ends of its pipes, all owned by whom it is handed to."""

    process: _native.Process
    found: modes.Found
    tree: Tree
    stdin: int | None
    stdout: int
    stderr: int


@dataclass(frozen=True, slots=True)
class _User:
    """Whom to run as; `ids` is None for the server's own user."""

    ids: tuple[int, int, list[int]] | None
    variables: dict[str, str]


def launch(asked: ExecBody, directory: bytes, cgroups: Cgroups | None, *, pipe: bool) -> Started:
    """Starts the command, with an open pipe as its standard input where `pipe`.

    Raises `Failure`: internal (500) for a program that is not there or cannot be executed,
    bad_request for a missing directory, an unknown user, too long arguments; unavailable where
    the machine is out of processes or descriptors.
    """
    user = _user(asked.user)
    environment = _environment(asked.env, user, directory)
    _require_directory(directory)
    place = modes.Place(directory, environment.get("PATH", modes.DEFAULT_PATH))
    found = modes.find(asked.words, asked.exec_mode, place)
    with ExitStack() as ours:
        pipes = _Pipes(ours, with_input=pipe)
        group = _cgroup(cgroups)
        try:
            process = _spawn(Program(found, environment, directory, user.ids), pipes, group)
        except BaseException:
            if group is not None:
                group.remove()
            raise
        tree = Tree(process.pid, None if group else _started(process.pid), group)
        return Started(process, found, tree, *pipes.keep())


def _started(pid: int) -> int | None:
    """What tells the process from a later one with its number."""
    seen = sessions.look(pid)
    return None if seen is None else seen.started


class _Pipes:
    """Three pipes, or two and `/dev/null`. Our ends never block; the child's are closed at once."""

    def __init__(self, stack: ExitStack, *, with_input: bool) -> None:
        self._stack = stack
        self._ours: list[int | None] = []
        try:
            self.standard = (self._input() if with_input else self._null(), *self._outputs())
        except OSError as error:
            raise from_os_error(error) from error

    def _own(self, descriptor: int) -> int:
        self._stack.callback(_close, descriptor)
        return descriptor

    def _null(self) -> int:
        self._ours.append(None)
        return self._own(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))

    def _input(self) -> int:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._own(reading), self._own(writing)
        os.set_blocking(writing, False)
        self._ours.append(writing)
        return reading

    def _outputs(self) -> tuple[int, int]:
        found = []
        for _ in range(2):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            found.append(self._own(writing))
            self._own(reading)
            os.set_blocking(reading, False)
            self._ours.append(reading)
        return found[0], found[1]

    def keep(self) -> tuple[int | None, int, int]:
        """Our ends, which the caller closes; the child's are closed here."""
        self._stack.pop_all()
        for one in self.standard:
            os.close(one)
        stdin, stdout, stderr = self._ours
        assert stdout is not None  # noqa: S101  # made in this order
        assert stderr is not None  # noqa: S101
        return stdin, stdout, stderr


def _close(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)


def _cgroup(cgroups: Cgroups | None) -> Cgroup | None:
    if cgroups is None:
        return None
    try:
        return cgroups.make()
    except OSError as error:
        raise from_os_error(error) from error


@dataclass(frozen=True, slots=True)
class Program:
    """What is run, in what surroundings."""

    found: modes.Found
    environment: dict[str, str]
    directory: bytes
    user: tuple[int, int, list[int]] | None

    def variables(self) -> list[bytes]:
        """`NAME=value`, as the kernel takes it."""
        return [os.fsencode(f"{name}={value}") for name, value in self.environment.items()]


def _spawn(program: Program, pipes: _Pipes, group: Cgroup | None) -> _native.Process:
    descriptor = None if group is None else group.open()
    try:
        return _native.spawn(
            program.found.file,
            program.found.arguments,
            program.variables(),
            directory=program.directory,
            standard=pipes.standard,
            terminal=False,
            cgroup=descriptor,
            user=program.user,
            descriptors=_descriptors(),
        )
    except OSError as error:
        raise _failure(error, program) from error
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _descriptors() -> tuple[int, int]:
    soft, hard = inherited_limit()
    # -1 is how Python spells no limit.
    return soft % 2**64, hard % 2**64


_UNSTARTED = {
    errno.ENOENT: "cannot be started, its interpreter is missing",
    errno.EACCES: "may not be executed",
    errno.ENOEXEC: "is neither a program nor a script that begins with #!",
}


def _failure(error: OSError, program: Program) -> Failure:
    number, step = error.errno or 0, error.strerror
    name = display(program.found.arguments[0])[:200]
    if step == "directory":
        return _bad_directory(error, program.directory)
    if step == "user":
        return Failure("bad_request", f"user: cannot be switched to: {os.strerror(number)}")
    if number == errno.E2BIG:
        return Failure("bad_request", "cmd: arguments and environment together are too long")
    if number in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return Failure("unavailable", f"the machine is out of processes or memory: {name}")
    if step == "exec":
        reason = _UNSTARTED.get(number, f"cannot be started: {os.strerror(number)}")
        return Failure("internal", f"executable {reason}: {name}")
    return Failure("internal", f"cannot be started ({step}: {os.strerror(number)}): {name}")


def _bad_directory(error: OSError, directory: bytes) -> Failure:
    told = from_os_error(error, path=directory)
    return Failure("bad_request", f"cwd: {told.message}")


def _require_directory(directory: bytes) -> None:
    # Before the program is looked for: relative ones begin there.
    try:
        mode = os.stat(directory).st_mode  # noqa: PTH116  # Path knows no bytes
    except PermissionError:
        return
    except OSError as error:
        raise _bad_directory(error, directory) from error
    if not stat.S_ISDIR(mode):
        raise Failure("bad_request", f"cwd: not a directory: {display(directory)}")


def _environment(given: dict[str, str], user: _User, directory: bytes) -> dict[str, str]:
    """The server's, without what is the server's own, then the user's, then what was asked for."""
    return _inherited() | {"PWD": os.fsdecode(directory)} | user.variables | given


@cache
def _inherited() -> dict[str, str]:
    """What the server was started with, which does not change."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OWN) and k not in _STALE}
    return {"PATH": modes.DEFAULT_PATH} | kept


def _user(given: str | int | None) -> _User:
    if given is None:
        return _User(None, {})
    try:
        is_number = isinstance(given, int) or given.isdigit()
        entry = pwd.getpwuid(int(given)) if is_number else pwd.getpwnam(str(given))
    except (KeyError, OverflowError, ValueError):
        raise Failure("bad_request", f"user: no such user: {str(given)[:100]}") from None
    if os.geteuid() != 0:
        if entry.pw_uid == os.geteuid():
            return _User(None, {})
        raise Failure("bad_request", "user: only a server that runs as root can switch users")
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    variables = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    return _User((entry.pw_uid, entry.pw_gid, groups), variables)

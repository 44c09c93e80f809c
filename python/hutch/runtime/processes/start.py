"""Starting a program in a session and a cgroup of its own, and the sentences for what goes wrong.

Belongs here: the spawn. Banned here: its standard descriptors (whoever starts it brings them),
what happens to it afterwards. All of it may wait for a disk: it runs in a lane.
Source: design, section 3, "Processes".
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from hutch import _native
from hutch.runtime.processes import sessions
from hutch.runtime.processes.cgroups import Cgroup, Cgroups
from hutch.runtime.processes.surroundings import bad_directory
from hutch.runtime.processes.tree import Tree
from hutch.server import inherited_limit
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.paths import display


@dataclass(frozen=True, slots=True)
class Program:
    """What is run, in what surroundings. `terminal`: descriptor 0 becomes the session's own."""

    file: bytes
    arguments: list[bytes]
    environment: dict[str, str]
    directory: bytes
    user: tuple[int, int, list[int]] | None = None
    terminal: bool = False

    def variables(self) -> list[bytes]:
        """`NAME=value`, as the kernel takes it."""
        return [os.fsencode(f"{name}={value}") for name, value in self.environment.items()]


def start(
    program: Program, standard: tuple[int, int, int], cgroups: Cgroups | None
) -> tuple[_native.Process, Tree]:
    """The running process, and the tree that it is the first of.

    Raises `Failure`: internal (500) for a program that cannot be executed, bad_request for a
    directory or user that it cannot have, or too long arguments; unavailable where the machine
    is out of processes or descriptors.
    """
    group = _group(cgroups)
    try:
        process = _spawn(program, standard, group)
    except BaseException:
        if group is not None:
            group.remove()
        raise
    return process, Tree(process.pid, None if group else sessions.started(process.pid), group)


def _group(cgroups: Cgroups | None) -> Cgroup | None:
    if cgroups is None:
        return None
    try:
        return cgroups.make()
    except OSError as error:
        raise from_os_error(error) from error


def _spawn(
    program: Program, standard: tuple[int, int, int], group: Cgroup | None
) -> _native.Process:
    descriptor = _open(group)
    try:
        return _native.spawn(
            program.file,
            program.arguments,
            program.variables(),
            directory=program.directory,
            standard=standard,
            terminal=program.terminal,
            cgroup=descriptor,
            user=program.user,
            descriptors=_descriptors(),
        )
    except OSError as error:
        raise _failure(error, program) from error
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(group: Cgroup | None) -> int | None:
    try:
        return None if group is None else group.open()
    except OSError as error:
        raise from_os_error(error) from error


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
    name = display(program.arguments[0])[:200]
    if step == "directory":
        return bad_directory(error, program.directory)
    if step == "user":
        return Failure("bad_request", f"user: cannot be switched to: {os.strerror(number)}")
    if number == errno.E2BIG:
        return Failure("bad_request", "cmd: arguments and environment together are too long")
    if number in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        scarce = "the machine is out of processes, memory or descriptors"
        return Failure("unavailable", f"{scarce}: {name}")
    if step == "exec":
        reason = _UNSTARTED.get(number, f"cannot be started: {os.strerror(number)}")
        return Failure("internal", f"executable {reason}: {name}")
    return Failure("internal", f"cannot be started ({step}: {os.strerror(number)}): {name}")

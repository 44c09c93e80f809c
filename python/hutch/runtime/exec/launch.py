"""Starting a command: its pipes, and its way to the spawn.

Belongs here: everything of a command's own between a checked request and a running process. All
of it may wait for a disk: it runs in a lane. Banned here: what happens to the process afterwards
(`supervise`).
Source: wire contract, section 4; design, section 3, "Processes".
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from hutch import _native
from hutch.runtime.exec import modes
from hutch.runtime.processes import surroundings
from hutch.runtime.processes.cgroups import Cgroups
from hutch.runtime.processes.programs import DEFAULT_PATH, Place
from hutch.runtime.processes.start import Program, start
from hutch.runtime.processes.tree import Tree
from hutch.wire.errors import from_os_error
from hutch.wire.exec import ExecBody


@dataclass(frozen=True, slots=True)
class Started:
    """A running process and our ends of its pipes, all owned by whom it is handed to."""

    process: _native.Process
    found: modes.Found
    tree: Tree
    stdin: int | None
    stdout: int
    stderr: int


def launch(asked: ExecBody, directory: bytes, cgroups: Cgroups | None, *, pipe: bool) -> Started:
    """Starts the command, with an open pipe as its standard input where `pipe`.

    Raises `Failure`: internal (500) for a program that is not there or cannot be executed,
    bad_request for a missing directory, an unknown user, too long arguments; unavailable where
    the machine is out of processes or descriptors.
    """
    user = surroundings.find_user(asked.user)
    environment = surroundings.environment(asked.env, user, directory)
    surroundings.require_directory(directory)
    place = Place(directory, environment.get("PATH", DEFAULT_PATH))
    found = modes.find(asked.words, asked.exec_mode, place)
    program = Program(found.file, found.arguments, environment, directory, user.ids)
    with ExitStack() as ours:
        pipes = _Pipes(ours, with_input=pipe)
        process, tree = start(program, pipes.standard, cgroups)
        return Started(process, found, tree, *pipes.keep())


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

"""Starting a terminal: the pair of descriptors, its size, and the way to the spawn.

Belongs here: everything between a checked request and a running program on a terminal. All of it
may wait for a disk: it runs in a lane. Banned here: what happens afterwards (`session`).
Source: wire contract, section 5; tty_ioctl(4), pts(4).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hutch import _native
from hutch.runtime.processes import surroundings
from hutch.runtime.processes.cgroups import Cgroups
from hutch.runtime.processes.programs import DEFAULT_PATH, Place, locate
from hutch.runtime.processes.start import Program, start
from hutch.runtime.processes.tree import Tree
from hutch.wire.errors import Code, Failure, from_os_error
from hutch.wire.terminals import TerminalBody

TERM: Final = "xterm-256color"
# What the terminal that the server was started from may have left, and programs would believe.
_ANOTHERS: Final = frozenset({"COLUMNS", "LINES", "TERMCAP"})
# Of asm-generic/ioctls.h and termbits.h; Python's termios has none of them. The other end comes
# by a call and not by its name, so that no mount of devpts can be in the way.
_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTPEER: Final = 0x5441
_IUTF8: Final = 0o40000
_OURS: Final = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Started:
    """A running program and both ends of its terminal, all owned by whom it is handed to.

    `theirs` is held so that the terminal is there for as long as its leader is, whatever that
    closes: without anybody at the other end, reading `master` fails.
    """

    process: _native.Process
    tree: Tree
    words: list[str]
    master: int
    theirs: int


def launch(asked: TerminalBody, directory: bytes, cgroups: Cgroups | None) -> Started:
    """Starts the program on a terminal of its own.

    Raises `Failure`: internal (500) where it is not there or cannot be executed, or there is no
    terminal to be had; bad_request for a missing directory or too long arguments; unavailable
    where the machine is out of processes or descriptors.
    """
    shell = surroundings.login_shell()
    words = asked.words or [shell]
    environment = _environment(asked.env, shell, directory)
    surroundings.require_directory(directory)
    place = Place(directory, environment.get("PATH", DEFAULT_PATH))
    file = locate(words[0], place)
    arguments = [word.encode() for word in words]
    program = Program(file, arguments, environment, directory, terminal=True)
    master, theirs = _open(asked.cols, asked.rows)
    try:
        process, tree = start(program, (theirs, theirs, theirs), cgroups)
    except BaseException:
        os.close(master)
        os.close(theirs)
        raise
    return Started(process, tree, words, master, theirs)


def _environment(given: dict[str, str], shell: str, directory: bytes) -> dict[str, str]:
    """As a command's, with what belongs to a terminal: its kind, its shell, no other one's size."""
    ours = {"TERM": TERM, "SHELL": shell, **given}
    found = surroundings.environment(ours, surroundings.OURSELVES, directory)
    return {name: value for name, value in found.items() if name in given or name not in _ANOTHERS}


def _open(cols: int, rows: int) -> tuple[int, int]:
    """Our end and the program's. Raises `Failure`."""
    try:
        master = os.open("/dev/ptmx", _OURS)
    except OSError as error:
        raise _no_terminal(error) from error
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        theirs = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        resize(master, cols, rows)
        _erase_whole_characters(theirs)
    except OSError as error:
        os.close(master)
        raise _no_terminal(error) from error
    return master, theirs


def _no_terminal(error: OSError) -> Failure:
    if error.errno == errno.ENOSPC:
        none_left = "the machine has no more of them (kernel.pty.max); close some"
        return Failure("internal", f"no terminal can be opened: {none_left}")
    told = from_os_error(error)
    code: Code = "unavailable" if told.code == "unavailable" else "internal"
    return Failure(code, f"no terminal can be opened: {told.message}")


def _erase_whole_characters(theirs: int) -> None:
    """Has the terminal's own line editing take UTF-8 for what it is, as terminals everywhere do."""
    with suppress(termios.error):
        attributes = termios.tcgetattr(theirs)
        attributes[0] |= _IUTF8
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)


def resize(master: int, cols: int, rows: int) -> None:
    """Sets the size; the kernel sends SIGWINCH where it changed. Raises OSError."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

"""What a command is run as: by the shell, or word for word; and which file that is.

Belongs here: the rules of `exec_mode` and the search in `PATH`. Banned here: starting anything.
All of it may wait for a disk: it runs in a lane.
Source: wire contract, section 4, `exec_mode`.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from hutch.wire.errors import Failure
from hutch.wire.exec import Mode
from hutch.wire.paths import shorten

SHELL: Final = b"/bin/sh"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_META: Final = frozenset("\n|&;<>()$`*?[]{}~#!")
# Redirections with and without the number in front, and with the descriptor behind: `2>&1`.
_OPERATOR: Final = re.compile(r"\|\|?|\|&|&&?|;|\d*(<|>|>>|<<|<<<|<>|>\||[<>]&(\d+|-)?)|&>>?")
_RUNS_A_COMMAND: Final = frozenset({"-exec", "-execdir", "-ok", "-okdir"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program is looked for: the directory it starts in, and its own `PATH`."""

    directory: bytes
    path: str


@dataclass(frozen=True, slots=True)
class Found:
    """A command as it will be run."""

    mode: Mode
    file: bytes
    arguments: list[bytes]


def find(words: list[str] | str, asked: Literal["auto", "shell", "direct"], place: Place) -> Found:
    """The file and its arguments.

    Raises `Failure`: bad_request for an unclosed quote, internal where there is no such program
    (the contract wants 500).
    """
    given = [words] if isinstance(words, str) else words
    match asked:
        case "shell":
            return _shell(given)
        case "direct":
            return _direct(_split(given[0]) if len(given) == 1 else given, place)
        case _:
            return _auto(words, given, place)


def _auto(words: list[str] | str, given: list[str], place: Place) -> Found:
    if isinstance(words, str):
        return _shell(given)
    if len(given) > 1:
        return _shell(given) if has_operator(given) else _direct(given, place)
    file = _executable(given[0], place)
    if file is not None:
        return Found("direct", file, [given[0].encode()])
    if _META.intersection(given[0]):
        return _shell(given)
    return _direct(_split(given[0]), place)


def has_operator(words: list[str]) -> bool:
    """Whether a word *is* an operator of the shell.

    A `;` that is last, or ends what `-exec` and its like began, belongs to `find`.
    """
    pending = False
    for index, word in enumerate(words):
        if word in _RUNS_A_COMMAND:
            pending = True
        elif word == ";" and (pending or index + 1 == len(words)):
            pending = False
        elif _OPERATOR.fullmatch(word):
            return True
    return False


def _shell(words: list[str]) -> Found:
    script = " ".join(words)
    # What begins like an option would be taken for one.
    guard = [b"--"] if script[:1] in ("-", "+") else []
    return Found("shell", SHELL, [SHELL, b"-c", *guard, script.encode()])


def _split(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Failure("bad_request", f"cmd: {error}: {shorten(text)}") from None
    if not words or not words[0]:
        raise Failure("bad_request", f"cmd: names no program: {shorten(text)}")
    return words


def _direct(words: list[str], place: Place) -> Found:
    file = locate(words[0], place)
    return Found("direct", file, [word.encode() for word in words])


def _executable(word: str, place: Place) -> bytes | None:
    """The program that the word, as it stands, names; None where it names none."""
    return next(filter(_is_executable, _candidates(word, place)), None)


def locate(word: str, place: Place) -> bytes:
    """The program's file.

    What is there and may not be executed is returned too: executing it says why.
    Raises `Failure` (internal) where nothing is there.
    """
    found = _executable(word, place)
    if found is None:
        found = next(filter(_is_there, _candidates(word, place)), None)
    if found is None:
        raise Failure("internal", f"executable not found: {word[:200]}")
    return found


def _candidates(word: str, place: Place) -> Iterator[bytes]:
    name = word.encode()
    if b"/" in name:
        yield _below(place.directory, name)
    elif name:
        for part in place.path.split(":"):
            # An empty element is the working directory, as POSIX has it.
            yield _below(_below(place.directory, part.encode()), name)


def _below(directory: bytes, name: bytes) -> bytes:
    return os.path.join(directory, name)  # noqa: PTH118  # Path knows no bytes


def _is_there(path: bytes) -> bool:
    try:
        os.stat(path)  # noqa: PTH116  # as above
    except (OSError, ValueError):
        return False
    return True


def _is_executable(path: bytes) -> bool:
    # Asked first, since it raises nothing for the many places where there is nothing.
    return os.access(path, os.X_OK) and _is_regular(path)


def _is_regular(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # as above
    except OSError:
        return False

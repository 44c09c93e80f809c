"""What a command is run as: by the shell, or word for word; and which file that is.

Belongs here: the rules of `exec_mode`. Banned here: the search in `PATH`, starting anything. All
of it may wait for a disk: it runs in a lane.
Source: wire contract, section 4, `exec_mode`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final, Literal

from hutch.runtime.processes.programs import Place, executable, locate
from hutch.wire.errors import Failure
from hutch.wire.exec import Mode
from hutch.wire.paths import shorten

SHELL: Final = b"/bin/sh"

_META: Final = frozenset("\n|&;<>()$`*?[]{}~#!")
# Redirections with and without the number in front, and with the descriptor behind: `2>&1`.
_OPERATOR: Final = re.compile(r"\|\|?|\|&|&&?|;|\d*(<|>|>>|<<|<<<|<>|>\||[<>]&(\d+|-)?)|&>>?")
_RUNS_A_COMMAND: Final = frozenset({"-exec", "-execdir", "-ok", "-okdir"})


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
    file = executable(given[0], place)
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

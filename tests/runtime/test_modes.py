"""What a command is run as. Source: wire contract, section 4, `exec_mode`."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutch.runtime.exec.modes import find
from hutch.runtime.processes.programs import DEFAULT_PATH, Place
from hutch.wire.errors import Failure

PLACE = Place(b"/", DEFAULT_PATH)
SHELL = "shell"

# What was given, and what is run: a script by the shell, or words.
AUTO: list[tuple[list[str] | str, str | list[str]]] = [
    (["echo", "hello"], ["echo", "hello"]),
    (["echo"], ["echo"]),
    (["echo hello"], ["echo", "hello"]),
    (["echo 'a b' c"], ["echo", "a b", "c"]),
    (["echo  a\tb"], ["echo", "a", "b"]),
    ("echo hello", "echo hello"),
    ("echo", "echo"),
    (["echo a | cat"], "echo a | cat"),
    (["echo a && echo b"], "echo a && echo b"),
    (["echo $HOME"], "echo $HOME"),
    (["ls *"], "ls *"),
    (["ls ~"], "ls ~"),
    (["echo a\necho b"], "echo a\necho b"),
    *[([f"echo a{one}"], f"echo a{one}") for one in "|&;<>()$`*?[]{}~#!\n"],
    (["echo a=b"], ["echo", "a=b"]),
    (["node", "-e", "a(); b()"], ["node", "-e", "a(); b()"]),
    (["sh", "-c", "a | b > c"], ["sh", "-c", "a | b > c"]),
    (["echo", "$HOME"], ["echo", "$HOME"]),
    (["echo", "a", "|", "cat"], "echo a | cat"),
    *[
        (["echo", "a", one, "b"], f"echo a {one} b")
        for one in [
            "|",
            "||",
            "&",
            "&&",
            ";",
            "<",
            ">",
            ">>",
            "2>",
            "2>>",
            "2>&1",
            ">&2",
            "1>",
            "&>",
            "&>>",
            "<<<",
            "<<",
            "<>",
            ">|",
            "|&",
            "2>&-",
            "<&3",
            ">&",
        ]
    ],
    (["echo", "a", "&"], "echo a &"),
    (["echo", "a", ";"], ["echo", "a", ";"]),
    (["find", ".", "-exec", "rm", "{}", ";"], ["find", ".", "-exec", "rm", "{}", ";"]),
    (
        ["find", ".", "-exec", "rm", "{}", ";", "-print"],
        ["find", ".", "-exec", "rm", "{}", ";", "-print"],
    ),
    (
        ["find", ".", "-execdir", "a", ";", "-ok", "b", ";", "-print"],
        ["find", ".", "-execdir", "a", ";", "-ok", "b", ";", "-print"],
    ),
    (["find", ".", "-exec", "a", ";", ";", "b"], "find . -exec a ; ; b"),
    (
        ["find", ".", "(", "-name", "a", ")", "!", "-empty"],
        ["find", ".", "(", "-name", "a", ")", "!", "-empty"],
    ),
    (["grep", "a|b", "c>d"], ["grep", "a|b", "c>d"]),
    (["echo", "2>/dev/null"], ["echo", "2>/dev/null"]),
    (["echo", "a;b"], ["echo", "a;b"]),
    (["echo", ">>>"], ["echo", ">>>"]),
]


@pytest.mark.parametrize(("given_", "expected"), AUTO, ids=str)
def test_auto(given_: list[str] | str, expected: str | list[str], tmp_path: Path) -> None:
    for name in ("node", "find", "grep"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    found = find(given_, "auto", Place(b"/", f"{tmp_path}:{DEFAULT_PATH}"))
    if isinstance(expected, str):
        assert (found.mode, found.file) == ("shell", b"/bin/sh")
        assert found.arguments == [b"/bin/sh", b"-c", expected.encode()]
    else:
        assert found.mode == "direct"
        assert found.arguments == [one.encode() for one in expected]


def test_a_single_word_that_names_an_executable_is_run(tmp_path: Path) -> None:
    for name in ("a b", "a;b", "[x]", "$(y)"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        found = find([str(program)], "auto", PLACE)
        assert (found.mode, found.file) == ("direct", str(program).encode())
        program.chmod(0o644)
        if name != "a b":
            assert find([str(program)], "auto", PLACE).mode == "shell"


@pytest.mark.parametrize(
    ("words", "script"),
    [
        (["echo", "a", "b"], "echo a b"),
        (["echo 'a'"], "echo 'a'"),
        ("exit 3", "exit 3"),
        (["a", "", "b"], "a  b"),
    ],
)
def test_shell_joins_by_a_space(words: list[str] | str, script: str) -> None:
    assert find(words, "shell", PLACE).arguments == [b"/bin/sh", b"-c", script.encode()]


def test_a_script_that_begins_like_an_option_is_a_script() -> None:
    assert find(["-x", "a"], "shell", PLACE).arguments == [b"/bin/sh", b"-c", b"--", b"-x a"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["echo 'a b' \"c d\" e\\ f"], ["echo", "a b", "c d", "e f"]),
        (["echo $HOME * # x"], ["echo", "$HOME", "*", "#", "x"]),
        (["echo a | cat; b"], ["echo", "a", "|", "cat;", "b"]),
        (["echo", "a b", "|"], ["echo", "a b", "|"]),
        ("echo a b", ["echo", "a", "b"]),
    ],
)
def test_direct_expands_nothing(words: list[str] | str, expected: list[str]) -> None:
    found = find(words, "direct", PLACE)
    assert found.mode == "direct"
    assert found.arguments == [one.encode() for one in expected]


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1)
)
def test_words_quoted_for_a_shell_come_back(words: list[str]) -> None:
    line = shlex.join(["echo", *words])
    assert find([line], "direct", PLACE).arguments == [b"echo", *[one.encode() for one in words]]


@pytest.mark.parametrize("text", ["echo 'a", 'echo "a', "'", "''"])
def test_what_cannot_be_split_is_a_bad_request(text: str) -> None:
    with pytest.raises(Failure) as caught:
        find([text], "direct", PLACE)
    assert caught.value.code == "bad_request"


def test_the_search_is_that_of_execvp(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "program").write_text("")
    (second / "program").write_text("")
    (second / "program").chmod(0o755)
    place = Place(str(tmp_path).encode(), f"{first}:second")
    assert find(["program", "x"], "auto", place).file == str(second / "program").encode()
    here = Place(str(second).encode(), "")
    assert find(["program", "x"], "auto", here).file == str(second / "program").encode()
    assert find(["./program", "x"], "auto", here).file == f"{second}/./program".encode()
    with pytest.raises(Failure, match="executable not found: program2"):
        find(["program2", "x"], "auto", place)

"""`hutch control` as a command: its options, what it needs, what it keeps to itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.controlling import controlling

from hutch.cli import main
from hutch.wire.config import limit_fields
from hutch.wire.control.config import ControlLimits

COMMANDS = (["control"], ["control", "client", "create"], ["control", "keys", "rotate"])


@pytest.mark.parametrize("name", ["sqlalchemy", "jwt"])
def test_what_is_not_installed_is_named(name: str) -> None:
    script = f"""
import sys
import click
sys.modules[{name!r}] = None
from hutch.cli import main
for one in {COMMANDS!r}:
    try:
        main.main(one, standalone_mode=False)
    except click.ClickException as error:
        print(error.message)
"""
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    said = f"{name} is missing; install it with: pip install 'hutch[control]'"
    assert done.stdout.splitlines() == [said] * len(COMMANDS)


def test_each_limit_is_an_option_and_a_variable() -> None:
    shown = "".join(CliRunner().invoke(main, ["control", "--help"]).output.split())
    for one in limit_fields(ControlLimits):
        assert one.option in shown
        assert one.variable in shown


@pytest.mark.parametrize("option", ["--token-seconds=0", "--changes=-1", "--stop-seconds=x"])
def test_a_bad_limit_is_named(tmp_path: Path, option: str) -> None:
    done = CliRunner().invoke(main, ["control", f"--state-dir={tmp_path}", option])
    assert done.exit_code != 0
    assert option.partition("=")[0] in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_listener_on_a_network_is_named_by_its_option(tmp_path: Path) -> None:
    words = ["control", f"--state-dir={tmp_path}", "--internal-host=0.0.0.0"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code != 0
    assert "--internal-host: '0.0.0.0'" in done.output


@pytest.mark.parametrize("command", [["client", "list"], ["client", "create"], ["keys", "rotate"]])
def test_an_option_before_a_command_is_refused_and_not_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    # Where the command would look, were the option ignored.
    monkeypatch.setenv("HUTCH_DATABASE", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    here = f"--state-dir={tmp_path / 'here'}"
    refused = CliRunner().invoke(main, ["control", here, *command])
    assert refused.exit_code != 0
    assert "--state-dir" in refused.output
    assert command[0] in refused.output
    assert list(tmp_path.iterdir()) == []
    assert CliRunner().invoke(main, ["control", *command, here]).exit_code == 0


@pytest.mark.parametrize("option", ["--key-file", "--internal-token-file", "--ready-file"])
def test_a_file_that_cannot_be_made_is_named_as_it_was_given(tmp_path: Path, option: str) -> None:
    words = [f"--state-dir={tmp_path}", "--port=0", "--internal-port=0", f"{option}=/nowhere/file"]
    done = subprocess.run(
        [sys.executable, "-m", "hutch.cli", "control", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "Error: /nowhere/file: No such file" in done.stderr


@pytest.mark.parametrize("name", ["two\nlines", "a\ttab", "half \udcff", "x" * 201])
def test_a_clients_name_is_a_word_for_a_line(tmp_path: Path, name: str) -> None:
    here = f"--state-dir={tmp_path}"
    done = CliRunner().invoke(main, ["control", "client", "create", here, f"--name={name}"])
    assert done.exit_code == 1
    assert "Error: --name: " in done.output
    assert CliRunner().invoke(main, ["control", "client", "list", here]).output == ""


def test_the_database_of_the_environment_is_gone_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    monkeypatch.setenv("HUTCH_DATABASE", f"sqlite:///{elsewhere}")
    with controlling(tmp_path / "control") as plane:
        environment = Path(f"/proc/{plane.process.pid}/environ").read_bytes()
        assert b"elsewhere" not in environment
        assert elsewhere.exists()
        assert not (plane.state_dir / "control.db").exists()

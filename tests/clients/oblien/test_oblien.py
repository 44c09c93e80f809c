"""The published npm package `oblien`, unmodified, drives the server.

Belongs here: installing it, and one test for each check of the `.mjs` files beside this one.
Banned here: what is checked; a room of the package's client is one more `.mjs` file.
Source: wire contract, rule 2. The version is pinned in `package.json`, its digest in
`package-lock.json`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Target

HERE = Path(__file__).parent
LEAST_NODE = (18, 17)  # the package wants 18, the checks a recursive `readdir`
FILE_SECONDS = 120


def _missing() -> str:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "needs Node and npm"
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(int(part) for part in told.strip().lstrip("v").split(".")[:2])
    return "" if version >= LEAST_NODE else f"needs Node 18.17 or later; {told.strip()} is here"


def _collected() -> dict[str, list[str]]:
    """The checks by file, read without Node, so that a machine without it skips them by name."""
    found = {
        one.name: re.findall(r'^check\("(.+?)", ', one.read_text(), re.MULTILINE)
        for one in sorted(HERE.glob("*.mjs"))
    }
    return {file: names for file, names in found.items() if names}


CHECKS = _collected()
ROWS = [(file, name) for file, names in CHECKS.items() for name in names]
MISSING = _missing()

pytestmark = [pytest.mark.wire, pytest.mark.skipif(bool(MISSING), reason=MISSING or "no reason")]


def _node(*words: str, **environment: str) -> tuple[list[Any], str]:
    """A script's lines of JSON, and what it wrote to stderr."""
    done = subprocess.run(
        ["node", *words],
        cwd=HERE,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=FILE_SECONDS,
        check=False,
    )
    # Not `splitlines`: what a check says may hold U+2028, which ends no line here.
    return [json.loads(line) for line in done.stdout.split("\n") if line], done.stderr


Outcomes = Callable[[str], tuple[dict[str, Any], str]]


@pytest.fixture(scope="session")
def outcomes(package: None, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What the checks of a file told, by name; each file is run once."""

    @cache
    def run(file: str) -> tuple[dict[str, Any], str]:
        place = tmp_path_factory.mktemp("oblien")
        _end_watchers(target)
        given = {"URL": target.url, "TOKEN": target.token, "TREE": str(place)}
        told, rest = _node("run.mjs", file, OWN_PORT=str(target.own_port), **given)
        return {one["check"]: one for one in told}, rest

    return run


def _end_watchers(target: Target) -> None:
    """The server is shared, and the checks count."""
    with target.client() as client:
        for one in client.json("/watchers")["watchers"]:
            client.request("DELETE", f"/watchers/{one['id']}")


@pytest.mark.parametrize(("file", "name"), ROWS, ids=[name for _, name in ROWS])
def test_check(outcomes: Outcomes, file: str, name: str) -> None:
    told, rest = outcomes(file)
    assert name in told, f"did not run: {rest}"
    assert told[name]["ok"], told[name]["error"]


@pytest.fixture(scope="session")
def survey(package: None) -> Any:
    """What the `.mjs` files register, and which methods the package's client has."""
    told, rest = _node("survey.mjs", *CHECKS)
    assert told, rest
    return told[0]


def test_every_check_is_collected(survey: Any) -> None:
    assert survey["checks"] == CHECKS


def test_every_method_of_the_client_has_a_check(survey: Any) -> None:
    checked = {name.split()[0] for names in CHECKS.values() for name in names}
    assert set(survey["methods"]) == checked

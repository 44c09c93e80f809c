"""constraints.txt and pyproject.toml: what is asked for and what is pinned go together."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def in_force(lines: list[str], python: str) -> dict[str, Requirement]:
    found = [Requirement(one) for one in lines]
    environment = {"python_version": python}
    return {
        canonicalize_name(one.name): one
        for one in found
        if one.marker is None or one.marker.evaluate(environment)
    }


# The pin of Quart for 3.11 kept 3.13, which needs the next one, from being installed at all.
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_on_each_python_what_is_asked_for_is_pinned_to_a_version_that_fits(python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = in_force(
        [*project["dependencies"], *(one for extra in extras for one in extra)], python
    )
    pins = in_force((ROOT / "constraints.txt").read_text().splitlines(), python)
    for name, wanted in asked.items():
        if name == "hutch":
            continue
        (pin,) = pins[name].specifier
        assert pin.operator == "==", name
        assert pin.version in wanted.specifier, name


def test_pins_have_names_and_versions_and_nothing_else() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert Requirement(line).url is None
        assert not line.startswith("-")

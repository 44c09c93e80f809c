"""The published npm package `oblien`, unmodified, drives the control plane.

Belongs here: one test for each check of the `.mjs` files in `control`. Banned here: what is
checked. Source: wire contract, rule 2 and section 9.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.clients.oblien.test_oblien import HERE, MISSING, _node
from tests.controlling import controlling

FILE = "workspaces.mjs"
NAMES = re.findall(r'^check\("(.+?)", ', (HERE / "control" / FILE).read_text(), re.MULTILINE)

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "no reason")


@pytest.fixture(scope="module")
def told(package: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What the checks told, by name."""
    with controlling(tmp_path_factory.mktemp("control")) as plane:
        with plane.account() as one, plane.account() as other:
            lines, rest = _node(
                "control/run.mjs",
                FILE,
                URL=plane.url,
                ID=one.credentials["X-Client-ID"],
                SECRET=one.credentials["X-Client-Secret"],
                OTHER_ID=other.credentials["X-Client-ID"],
                OTHER_SECRET=other.credentials["X-Client-Secret"],
            )
    return {line["check"]: line for line in lines}, rest


@pytest.mark.parametrize("name", NAMES)
def test_check(told: tuple[dict[str, Any], str], name: str) -> None:
    lines, rest = told
    assert name in lines, f"did not run: {rest}"
    assert lines[name]["ok"], lines[name]["error"]

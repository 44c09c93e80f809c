"""The README's demo, run: its `curl` lines answer what it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests import trees
from tests.serving import Target

ROOT = Path(__file__).parent.parent
DEMO = re.compile(r"^```sh\n\$ (curl .*?)\n(\{.*?)\n```$", re.MULTILINE | re.DOTALL)
# What no two runs share.
VARIES = {"modified", "etag"}


def told(lines: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines.splitlines()]
    return [{key: "" if key in VARIES else one[key] for key in one} for one in found]


def test_the_demo_answers_what_it_shows(target: Target, tree: Path) -> None:
    trees.build(tree, {"src/main.go": "hello\n"})
    demos = DEMO.findall((ROOT / "README.md").read_text())
    assert len(demos) == 2
    for command, shown in demos:
        here = command.replace("http://127.0.0.1:9990", target.url).replace("/app", str(tree))
        done = subprocess.run(
            ["sh", "-c", f"{here} -sS"],
            env={**os.environ, "TOKEN": target.token},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told(done.stdout.replace(str(tree), "/app")) == told(shown)

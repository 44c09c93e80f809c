"""CONTRIBUTING.md's example, run: its modules are put into a copy of the package, and count."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STEP = re.compile(r"\*\*`python/(hutch/[\w/]+\.py)`\*\*.*?```python\n(.*?)\n {3}```", re.DOTALL)

PROGRAM = """
import sys
import trio
from hutch.runtime.count import Counts
from hutch.runtime.http.count import ROUTES
from hutch.routing.openapi import document
from hutch.wire import shapes

assert b"/files/count" in document("Hutch runtime", ROUTES)
asked = shapes.parse_query(ROUTES[0].shape, sys.argv[1].encode())
answer = trio.run(Counts().count, asked)
assert isinstance(answer, ROUTES[0].answer)
print(answer.count)
"""


def steps() -> dict[str, str]:
    """Code by file, of the steps that have some; a step without ends where the next begins."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    found = (STEP.search(step) for step in re.split(r"^(?=\d\. )", text, flags=re.MULTILINE))
    return {one[1]: re.sub(r"^ {3}", "", one[2], flags=re.MULTILINE) for one in found if one}


def test_the_example_counts(tmp_path: Path, tree: Path) -> None:
    shutil.copytree(ROOT / "python" / "hutch", tmp_path / "hutch")
    code = steps()
    assert set(code) == {f"hutch/{room}/count.py" for room in ("wire", "runtime", "runtime/http")}
    for name, text in code.items():
        (tmp_path / name).write_text(text)
    for name in "abc":
        (tree / name).touch()
    for query, count in ((f"path={tree}", 3), (f"path={tree}&most=2", 2)):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, query],
            env={**os.environ, "PYTHONPATH": os.fspath(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == f"{count}\n", done.stderr

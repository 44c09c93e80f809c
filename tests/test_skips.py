"""A test that is skipped without being on the list fails a run that is strict about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SKIPPED = "import pytest\n\n\ndef test_one():\n    pytest.skip('by itself')\n"


@pytest.mark.parametrize(("option", "status"), [("--strict-skips", 1), ("-q", 0)])
def test_a_skip_that_is_not_listed_fails_a_strict_run(
    tmp_path: Path, option: str, status: int
) -> None:
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    words = ["-p", "tests.conftest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-n1", option, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    named = "not in tests/allowed-skips.txt: test_skipped.py::test_one" in done.stdout
    assert named == (status == 1)

"""The published package, installed once as the lock file says."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALL_SECONDS = 300


@pytest.fixture(scope="session")
def package() -> None:
    """`oblien` in `node_modules` here, as the lock file says; installed once."""
    pins = b"".join((HERE / name).read_bytes() for name in ("package.json", "package-lock.json"))
    wanted, stamp = hashlib.sha256(pins).hexdigest(), HERE / "node_modules" / ".stamp"
    with (HERE / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other test files, run beside this one, want it too
        if not stamp.exists() or stamp.read_text() != wanted:
            _install()
            stamp.write_text(wanted)


def _install() -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"

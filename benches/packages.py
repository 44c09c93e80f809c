"""What must be installed for a bench, and who may install it.

Belongs here: asking Debian for a package as root, and saying which line to run otherwise.
Banned here: installing silently: each package is named on standard error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable


class MissingError(Exception):
    """Something is not installed and cannot be installed from here; says the line to run."""


def ensure(package: str, *, unless: Callable[[], bool]) -> None:
    """Installs a Debian package unless it is there.

    Raises `MissingError` where this is not root, or no Debian, or the installation failed.
    """
    if unless():
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingError(f"missing; run: sudo apt-get install {package}")
    print(f"installing: {package}", file=sys.stderr, flush=True)
    quiet = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}
    for words in (["update", "-qq"], ["install", "-y", "-qq", package]):
        done = subprocess.run(
            ["apt-get", *words], env=quiet, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise MissingError(f"apt-get {words[0]} failed: {said}; try: apt-get install {package}")
    if not unless():
        raise MissingError(f"{package} is installed and still not found")

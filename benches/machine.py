"""Where and with what it was measured.

Belongs here: the facts that stand above a table. Banned here: names of hosts, users and paths.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from hutch import _native

VERSIONS = {
    "fd": ("fdfind", "--version"),
    "rg": ("rg", "--version"),
    "find": ("find", "--version"),
    "go": ("go", "version"),
    "node": ("node", "--version"),
    "openssl": ("openssl", "version"),
    "cc": ("cc", "--version"),
}


def facts(trees: Path) -> dict[str, str]:
    """Processor, cores, memory, kernel, filesystem, versions, load, in the order to print them."""
    return {
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "filesystem": _first(("findmnt", "-no", "FSTYPE", "-T", str(trees))) or "unknown",
        "hutch": getattr(_native, "__version__", "") or _commit(),
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: told for name, words in VERSIONS.items() if (told := _first(words))},
        "load at the start": load(),
    }


def processor() -> str:
    """The model as the kernel names it."""
    told = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def words() -> str:
    """The machine in a file's name: `amd-epyc-2-cores`."""
    model = re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")
    return f"{model}-{len(os.sched_getaffinity(0))}-cores"


def load() -> str:
    """How many wanted to run in the last minute; more than a little disturbs every figure."""
    return f"{os.getloadavg()[0]:.2f}"


def _first(command: tuple[str, ...]) -> str:
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [""])[0].strip()


def _commit() -> str:
    return _first(("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"))

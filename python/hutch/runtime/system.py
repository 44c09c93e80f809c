"""Facts about the machine and this runtime.

Belongs here: what `/runtime` tells. Banned here: facts that cost more than a look.
"""

from __future__ import annotations

import os
import platform
import pwd
from importlib.metadata import version

from hutch.runtime.processes.surroundings import login_shell
from hutch.wire.system import PROTOCOL_VERSION, RuntimeInfo

CAPABILITIES = (
    "files",
    "files.stream",
    "files.hash",
    "files.raw",
    "metrics",
    "limits",
    "files.preconditions",
    "files.transfer",
    "files.copy",
    "files.move",
    "files.chmod",
    "search",
    "search.stream",
    "search.files",
    "search.init",
    "terminals",
    "ws",
    "watchers",
    "watchers.changes",
    "proxy",
)


def home() -> str:
    """The home directory of the server's user."""
    return os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir


def runtime_info(found: tuple[str, ...]) -> RuntimeInfo:
    """What this runtime is and can do; `found` are capabilities that the machine decides."""
    return RuntimeInfo(
        os=platform.system().lower(),
        arch=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        home=home(),
        shell=login_shell(),
        protocol_version=PROTOCOL_VERSION,
        capabilities=[*CAPABILITIES, *found],
        version=version("hutch"),
    )

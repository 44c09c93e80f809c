"""Floors and rivals: built or found before anything is measured.

Belongs here: compiling `floors/`, building what rivals need, saying which one is left out and
why. Banned here: running them against a tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benches.packages import MissingError, ensure

HERE = Path(__file__).parent
OPTIMISED = ("-O3", "-march=native", "-pthread", "-w")
LIBCRYPTO = Path("/usr/include/openssl/sha.h")


@dataclass(frozen=True)
class Programs:
    """Where the programs are. A rival that is None could not be had; `absent` says why."""

    lim: Path
    hsink: Path
    press: Path
    inl: Path
    watch: Path
    shafiles: Path | None
    fd: str | None
    rg: str | None
    walkdir: Path | None
    node: str | None
    absent: dict[str, str] = field(default_factory=dict)


def gather(home: Path) -> Programs:
    """Builds the floors into `home`, installs rivals where this is root.

    Raises RuntimeError where a floor does not compile: without it there is no table.
    """
    home.mkdir(parents=True, exist_ok=True)
    absent: dict[str, str] = {}
    return Programs(
        lim=_floor(home, "lim"),
        hsink=_floor(home, "hsink"),
        press=_floor(home, "press"),
        inl=_floor(home, "inl"),
        watch=_floor(home, "watch"),
        shafiles=_shafiles(home, absent),
        fd=_rival("fd", ("fdfind", "fd"), "fd-find", absent),
        rg=_rival("rg", ("rg",), "ripgrep", absent),
        walkdir=_walkdir(home, absent),
        node=_node(absent),
        absent=absent,
    )


def _floor(home: Path, name: str, *libraries: str) -> Path:
    built, source = home / name, HERE / "floors" / f"{name}.c"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        command = ["cc", *OPTIMISED, "-o", str(built), str(source), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the floor {name} does not compile:\n{done.stderr}")
    return built


def _shafiles(home: Path, absent: dict[str, str]) -> Path | None:
    try:
        ensure("libssl-dev", unless=LIBCRYPTO.exists)
    except MissingError as why:
        _leave_out("shafiles", str(why), absent)
        return None
    return _floor(home, "shafiles", "-lcrypto")


def _rival(
    name: str, commands: tuple[str, ...], package: str, absent: dict[str, str]
) -> str | None:
    def found() -> str | None:
        return next(filter(None, map(shutil.which, commands)), None)

    try:
        ensure(package, unless=lambda: found() is not None)
    except MissingError as why:
        _leave_out(name, str(why), absent)
        return None
    return found()


def _walkdir(home: Path, absent: dict[str, str]) -> Path | None:
    built, source = home / "walkdir", HERE / "rivals" / "walkdir.go"
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return built
    if not shutil.which("go"):
        _leave_out("Go", "not installed", absent)
        return None
    command = ["go", "build", "-o", str(built.resolve()), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        _leave_out("Go", done.stderr.strip(), absent)
        return None
    return built


def _node(absent: dict[str, str]) -> str | None:
    found = shutil.which("node")
    if found is None:
        _leave_out("Node", "not installed", absent)
    return found


def _leave_out(name: str, why: str, absent: dict[str, str]) -> None:
    absent[name] = why
    print(f"left out: {name}: {why}", file=sys.stderr, flush=True)

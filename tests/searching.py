"""What a search should find: ripgrep itself on the command line, and stand-ins that misbehave.

Belongs here: the oracle, programs in ripgrep's place, what processes a server has. Banned here:
anything of ours.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REAL = next(one for one in ("/usr/bin/rg", "/usr/local/bin/rg") if os.path.exists(one))


@dataclass(frozen=True)
class Hit:
    """One matching line as ripgrep tells it."""

    path: bytes
    line: int
    column: int
    text: bytes


def hits(root: Path, *words: str) -> set[Hit]:
    """Every match of `rg words` in `root`, hidden files and rules left to `words`."""
    done = subprocess.run(
        [REAL, "--json", "--no-config", "--no-messages", *words, "./"],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    messages = [json.loads(line) for line in done.stdout.split(b"\n") if line]
    return {hit(one["data"]) for one in messages if one["type"] == "match"}


def hit(data: Mapping[str, Any]) -> Hit:
    text = raw(data["lines"]).removesuffix(b"\n").removesuffix(b"\r")
    first = data["submatches"][0]["start"] + 1
    return Hit(raw(data["path"]).removeprefix(b"./"), data["line_number"], first, text)


def raw(value: Mapping[str, str]) -> bytes:
    if "text" in value:
        return value["text"].encode()
    return base64.b64decode(value["bytes"])


def program(place: Path, script: str) -> Path:
    """A `rg` that is a shell script; `--version` it answers as a good one does."""
    place.mkdir(parents=True, exist_ok=True)
    path = place / "rg"
    version = '[ "$1" = --version ] && { echo "ripgrep 14.1.1"; exit 0; }'
    path.write_text(f"#!/bin/sh\n{version}\n{script}\n")
    path.chmod(0o755)
    return path


def children(pid: int) -> list[int]:
    """The processes that a process has, zombies included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            continue
    return found

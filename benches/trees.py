"""The trees that are listed: made once under `.bench/`, kept, known by a stamp beside them.

Belongs here: making trees, and saying what is in them. Banned here: measuring, and anything
random (a tree is the same on every machine). A tree without its stamp is half made: it is
removed and made again.
Source: design, section 5, "Trees".
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benches.packages import ensure

# Where Debian's additions to the kernel's root .gitignore begin: everything from here on hides
# the whole source from git.
PACKAGING_MARK = "Debian packaging"

TRACKED_FILES = 300
NODE_FILES = 100_000
FILES_IN_A_PACKAGE = 50
MILLION_SHAPE = (100, 100, 100)


@dataclass(frozen=True)
class Trees:
    """Paths of the trees below one directory; each is made when it is first asked for."""

    home: Path

    def kernel(self) -> Path:
        """The Linux source in a git repository: some 84,000 entries, 78,600 files, 1.3 GB."""
        return self._made("kernel", _make_kernel)

    def node_modules(self) -> Path:
        """A repository with 300 tracked files, and 100,000 in an ignored node_modules."""
        return self._made("node", _make_node_modules)

    def million(self) -> Path:
        """1,000,000 empty files, 100 in each of 100 directories in each of 100 directories."""
        return self._made("million", _make_million)

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        root, stamp = self.home / name, self.home / f"{name}.stamp"
        if not stamp.exists():
            print(f"making the tree {name} in {root} (once)", file=sys.stderr, flush=True)
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            make(root)
            stamp.touch()
        return root


def tracked(root: Path) -> set[str]:
    """What git says is there: every tracked or unignored path, and the directories on the way.

    An oracle for listings by the rules. Empty directories are not in it: git knows none.
    """
    told = _git(root, "ls-files", "-co", "--exclude-standard", "-z")
    files = {os.fsdecode(one) for one in told.split(b"\0") if one}
    return files | {above for one in files for above in _above(one)}


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _make_kernel(root: Path) -> None:
    ensure("linux-source", unless=lambda: bool(_kernel_archives()))
    archive = _kernel_archives()[-1]
    subprocess.run(["tar", "-xf", archive, "-C", root, "--strip-components=1"], check=True)
    rules = root / ".gitignore"
    rules.write_text(_without_packaging(rules.read_text()))
    _commit(root)


def _kernel_archives() -> list[Path]:
    return sorted(Path("/usr/src").glob("linux-source-*.tar.*"))


def _without_packaging(text: str) -> str:
    """The rules without Debian's section; `/*` in what is left would hide every file."""
    lines = text.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if PACKAGING_MARK in line]
    kept = lines[: starts[0]] if starts else lines
    while kept and (not kept[-1].strip() or kept[-1].strip() == "#"):
        kept.pop()
    if any(line.strip() == "/*" for line in kept):
        raise ValueError("the kernel's root .gitignore still hides everything")
    return "".join(kept)


def _make_node_modules(root: Path) -> None:
    (root / ".gitignore").write_text("node_modules/\n*.log\n/dist\n")
    for number in range(TRACKED_FILES - 1):
        place = root / "src" / f"part{number // 20}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"module{number}.ts").write_text(f"export const value = {number};\n" * 20)
    _commit(root)
    for number in range(NODE_FILES // FILES_IN_A_PACKAGE):
        scope = f"@scope{number // 40}/" if number % 3 == 0 else ""
        _make_package(root / "node_modules" / f"{scope}package-{number}")


def _make_package(place: Path) -> None:
    """A package as npm lays it: a manifest, `lib/`, `dist/esm/`, one nested dependency."""
    shapes = ("", "lib", "lib/internal", "dist/esm", "dist/cjs", "node_modules/nested/lib")
    for shape in shapes:
        (place / shape).mkdir(parents=True, exist_ok=True)
    (place / "package.json").write_text(f'{{"name":"{place.name}","version":"1.0.0"}}\n')
    for number in range(FILES_IN_A_PACKAGE - 1):
        shape = shapes[number % len(shapes)]
        (place / shape / f"file{number}.js").write_bytes(b"module.exports = 1;\n")


def _make_million(root: Path) -> None:
    outer, inner, files = MILLION_SHAPE
    for first in range(outer):
        for second in range(inner):
            place = root / f"d{first:02}" / f"e{second:02}"
            place.mkdir(parents=True)
            below = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            for third in range(files):
                os.mknod(f"file{third:02}.txt", 0o100644, dir_fd=below)
            os.close(below)


def _commit(root: Path) -> None:
    """Every file that git does not ignore, in one commit and one pack."""
    _git(root, "init", "--quiet", "--initial-branch=main")
    _git(root, "-c", "core.compression=1", "add", "--all")
    who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0")
    _git(root, *who, "commit", "--quiet", "--message=The tree as unpacked")
    _git(root, "-c", "core.compression=1", "repack", "-a", "-d", "-q", "--window=0")


def _git(root: Path, *words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(root), *words], check=True, stdout=subprocess.PIPE)
    return done.stdout

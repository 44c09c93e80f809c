"""Trees to list: builders, and the oracles that say what is in them.

Belongs here: making files of every kind, and reading them back by `os` alone. Banned here:
anything of ours.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Spec = Mapping[str, str | bytes | None]


def build(root: Path, spec: Spec) -> Path:
    """Files from `{"a/b.txt": "content", "dir/": None}`; parents are made."""
    for name, content in spec.items():
        place = root / name
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def exchange(one: Path, other: Path) -> None:
    """Swaps two names, at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), swap):
        raise OSError(ctypes.get_errno(), "renameat2")


def git(root: Path, *words: str, stdin: bytes = b"") -> bytes:
    """Git in `root`, with nobody's configuration but its own."""
    settings = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    done = subprocess.run(
        ["git", *words],
        cwd=root,
        env={**os.environ, **settings},
        input=stdin,
        capture_output=True,
        check=True,
    )
    return done.stdout


def repository(root: Path, spec: Spec) -> Path:
    """A repository with files that are not committed."""
    build(root, spec)
    git(root, "init", "-q")
    return root


def git_visible(root: Path) -> set[bytes]:
    """Files that git does not ignore, tracked ones included: the oracle of the rules."""
    listed = git(root, "ls-files", "-co", "--exclude-standard", "-z")
    names = {name for name in listed.split(b"\0") if name}
    # A file deleted from the tree stays in the index, and git names it all the same.
    return {name for name in names if os.path.lexists(os.path.join(os.fsencode(root), name))}


def kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "other"


def described(path: bytes) -> dict[str, Any]:
    """What a listing should say of one entry, by `os.lstat`."""
    info = os.lstat(path)
    type_ = kind(info.st_mode)
    moment = datetime.fromtimestamp(info.st_mtime_ns // 10**9, UTC)
    entry: dict[str, Any] = {
        "name": os.path.basename(path).decode("utf-8", "replace"),
        "path": path.decode("utf-8", "replace"),
        "type": type_,
        "size": 0 if type_ == "symlink" else info.st_size,
        "modified": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if type_ == "symlink":
        entry["symlink_target"] = os.readlink(path).decode("utf-8", "replace")
    return entry


def everything(root: Path) -> dict[bytes, dict[str, Any]]:
    """Every entry below `root` by `os.scandir`, keyed by path; symlinks are not followed."""
    found: dict[bytes, dict[str, Any]] = {}
    waiting = [os.fsencode(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for one in entries:
                found[one.path] = described(one.path)
                if one.is_dir(follow_symlinks=False):
                    waiting.append(one.path)
    return found


def sha256(path: bytes | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.fspath(path))
    return path


# What stands where a file should be, and is none.
NO_FILES: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "fifo": make_fifo,
    "socket": make_socket,
    "link to a device": lambda at: os.symlink("/dev/null", at),
    "link to a directory": lambda at: os.symlink("/tmp", at),
}


def etag(path: Path) -> str:
    """The ETag that a file should have, as the contract describes it."""
    told = path.stat()
    return f'"{told.st_ino:x}-{told.st_size:x}-{told.st_mtime_ns:x}-{told.st_ctime_ns:x}"'


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make_deep(root: Path, levels: int, name: str = "d") -> None:
    """`levels` directories, one in the other: deeper than any path that the kernel takes."""
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def remove_deep(root: Path) -> None:
    """Removes what `make_deep` made; `shutil.rmtree` recurses and gives up."""
    subprocess.run(["rm", "-rf", os.fspath(root)], check=True)


def age(root: Path, *, seconds: float = 10.0) -> None:
    """Puts the change times of everything below `root` into the past, as far as that goes:
    the mtime is set, and the ctime is waited for (nothing but the clock moves it)."""
    newest = 0.0
    for path in everything(root):
        info = os.lstat(path)
        os.utime(path, (info.st_atime - seconds, info.st_mtime - seconds), follow_symlinks=False)
        newest = max(newest, os.lstat(path).st_ctime)
    while time.time() < newest + 2.1:
        time.sleep(0.05)

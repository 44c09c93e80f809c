"""Trees and archives for tests: what a tree holds, down to the nanosecond, and archives of any kind.

Belongs here: building the trees, the oracle that compares them, GNU tar and bsdtar. Banned here:
anything of ours.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

# What a tree holds: by name, all that an archive should keep.
Survey = dict[bytes, tuple[object, ...]]

C = {**os.environ, "LC_ALL": "C"}


def rich(root: Path) -> Path:
    """A tree with everything that an archive keeps."""
    top = os.fsencode(root)

    def place(*names: bytes) -> bytes:
        return os.path.join(top, *names)

    for name in (
        b"empty",
        b"a/b/c",
        b"closed",
        b"sticky",
        b"\xff\xfe",
        b"n" * 200,
        "ä".encode() * 90,
    ):
        os.makedirs(place(name))
    deep = b"/".join([b"d" * 90] * 6)
    os.makedirs(place(deep))
    files = {
        b"a/plain": b"text\n",
        b"a/nothing": b"",
        b"a/b/c/block": b"x" * 512,
        b"a/b/c/more": os.urandom(300_001),
        b"blank and\nnewline": b"1",
        b"back\\slash": b"2",
        b"\xff\xfe/\xe9": b"3",
        b"\xfe" * 150: b"4",
        "ü".encode() * 100: b"5",
        b"f" * 99: b"6",
        b"f" * 100: b"7",
        b"f" * 101: b"8",
        b"n" * 200 + b"/" + b"m" * 200: b"9",
        deep + b"/leaf": b"10",
        b"-rf": b"11",
        b"closed/secret": b"12",
    }
    for name, content in files.items():
        Path(os.fsdecode(place(name))).write_bytes(content)
    with open(place(b"sparse"), "wb") as sparse:
        sparse.write(b"begin")
        sparse.seek(3 << 20)
        sparse.write(b"end")
    links = {
        b"link": b"a/plain",
        b"dangling": b"/nowhere/at/all",
        b"up": b"../../outside",
        b"to a directory": b"a",
        b"long link": b"t" * 1000,
        b"odd link": b"\xff" * 200,
    }
    for name, target in links.items():
        os.symlink(target, place(name))
    os.link(place(b"a/plain"), place(b"a/b/hard"))
    os.link(place(b"a/plain"), place(b"a/b/" + b"h" * 150))
    for name, mode in {
        b"a/plain": 0o640,
        b"-rf": 0o755,
        b"closed": 0o500,
        b"sticky": 0o1777,
    }.items():
        os.chmod(place(name), mode)
    times = {
        b"a/nothing": 0,
        b"-rf": 1_000_000_000_123_456_789,
        b"sparse": -2_000_000_000,
        b"a": 1_234_567_890_000_000_000,
        b"empty": 2**33 * 1_000_000_000,
        b"closed": 999_999_999_999_999_999,
    }
    for name, at in times.items():
        os.utime(place(name), ns=(at, at))
    os.utime(place(b"link"), ns=(5 * 10**9, 5 * 10**9), follow_symlinks=False)
    return root


def survey(root: Path, *, top: bool = False) -> Survey:
    """Names, types, modes, mtimes, contents, link targets, and which names are one file."""
    found: Survey = {}
    first: dict[tuple[int, int], bytes] = {}
    base = os.fsencode(root)
    for directory, names, files in os.walk(base):
        for name in [*([b"."] if top and directory == base else []), *names, *files]:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, base)] = ()
    for name in sorted(found):
        path = os.path.join(base, name)
        info = os.lstat(path)
        content: object = None
        if stat.S_ISREG(info.st_mode):
            content = (
                info.st_size,
                hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest(),
            )
        elif stat.S_ISLNK(info.st_mode):
            content = os.readlink(path)
        shared = None
        if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
            shared = first.setdefault((info.st_dev, info.st_ino), name)
        found[name] = (stat.filemode(info.st_mode), info.st_mtime_ns, content, shared)
    return found


def unpack(program: str, archive: bytes, into: Path) -> None:
    """Extracts with a foreign program, which must not complain."""
    into.mkdir(exist_ok=True)
    # Of times before 1970 and in the future it only says that they are.
    quiet = ["--warning=no-timestamp"] if program == "tar" else []
    command = [program, *quiet, "-xpzf", "-", "-C", str(into)]
    done = subprocess.run(command, input=archive, capture_output=True, env=C, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr


def pack(program: str, root: Path, *options: str) -> bytes:
    """`root`'s content as tar.gz by a foreign program."""
    command = [program, *options, "-czf", "-", "-C", str(root), "."]
    return subprocess.run(command, capture_output=True, env=C, check=True).stdout


def members(archive: bytes) -> list[tarfile.TarInfo]:
    """What Python's reader finds in a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        return opened.getmembers()


def made(
    entries: Iterable[tuple[tarfile.TarInfo, bytes]],
    *,
    form: int = tarfile.PAX_FORMAT,
    level: int = 1,
) -> bytes:
    """A tar.gz of these members, however odd."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:", format=form) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(sink.getvalue(), level)


def entry(
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    mode: int = 0o644,
) -> tuple[tarfile.TarInfo, bytes]:
    """One member for `made`."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode = len(content), kind, link, mode
    info.mtime = 1_000_000_000
    return info, content

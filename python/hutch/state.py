"""State directories: what outlives a process, one server at a time.

Belongs here: making one, locking it, the token and the instance in it, private files, the ready
file. Banned here: what single services keep below it (they own their subdirectories).
Source: wire contract, section 0; the table of `hutch serve`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from hutch.wire.errors import Failure

_LEAST_TOKEN = 16


def default_state_dir() -> Path:
    """`/var/lib/hutch` as root, else `$XDG_STATE_HOME/hutch`."""
    if os.geteuid() == 0:
        return Path("/var/lib/hutch")
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "hutch"


@contextmanager
def hold_state_dir(path: Path) -> Iterator[Path]:
    """The state directory, made 0700 and locked against a second server.

    Raises `Failure` (conflict) where another server holds it; OSError where it cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    lock = try_lock(path / "lock")
    if lock is None:
        raise Failure(
            "conflict",
            f"another server uses the state directory {path}; stop it, or give --state-dir",
        )
    try:
        yield path
    finally:
        os.close(lock)


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the file's lock until it is closed; None where somebody has it.

    Makes the file (0600) where there is none. Raises OSError.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock


def private_beside(path: Path) -> tuple[int, str]:
    """An empty 0600 file beside `path`: its descriptor, its name. Raises OSError naming `path`."""
    try:
        return tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        error.filename = os.fspath(path)  # what was asked for, not the name on its way
        raise


def write_private(path: Path, content: bytes) -> None:
    """Puts a 0600 file in place atomically. Raises OSError naming it."""
    descriptor, name = private_beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_token(path: Path) -> str:
    """The token in a file, without the blanks around it.

    Raises `Failure` (bad_request) for one that is missing, unreadable, too short, or not
    printable ASCII.
    """
    try:
        text = path.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise Failure("bad_request", f"token file {path}: {error.strerror}") from None
    return check_token(text, source=f"token file {path}")


def check_token(text: str, *, source: str) -> str:
    """`text` itself. Raises `Failure` (bad_request) where it cannot be a token."""
    if len(text) < _LEAST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise Failure(
            "bad_request",
            f"{source}: not a token; give at least {_LEAST_TOKEN} printable ASCII characters "
            "without blanks, such as 'openssl rand -hex 32' prints",
        )
    return text


def own_token(state_dir: Path) -> tuple[str, Path]:
    """The token kept in the state directory, made on first use: (token, its 0600 file)."""
    path = state_dir / "token"
    if path.exists():
        return read_token(path), path
    token = secrets.token_hex(32)
    write_private(path, token.encode() + b"\n")
    return token, path


def write_ready(path: Path | None, *, url: str, instance: str, **more: str) -> None:
    """The ready file, if one is wanted, atomically: `{"url","pid","instance"}` and what is more."""
    if path is not None:
        told = {"url": url, "pid": os.getpid(), "instance": instance, **more}
        write_private(path, msgspec.json.encode(told) + b"\n")

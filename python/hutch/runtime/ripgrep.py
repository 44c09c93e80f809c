"""ripgrep as a program: where it is, which one it is, how it is started and ended.

Belongs here: looking for the binary, its version, the command line, the environment and the
bounds of a process. Banned here: what is searched (`search`), getting it (`installation`).
Source: wire contract, section 3.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import trio

from hutch.wire.config import Config
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.search import ContentQuery

# The first with all the options below.
LEAST_VERSION: Final = (11, 0, 0)

# One thread: it prints what it finds at once and holds one line, not a whole file's matches;
# several processes share the work instead. Rules are applied before it is started (`targets` in
# the extension), so its own are off. A mapped file that becomes shorter would kill it.
_WHERE: Final = ("--no-config", "--threads=1", "--no-ignore", "--max-depth=1")
_WHAT: Final = ("--json", "--no-mmap")

# Nothing of ours: no token, no RIPGREP_CONFIG_PATH. The C locale for the system's own words.
_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"}

_VERSION: Final = re.compile(r"ripgrep (\d+)\.(\d+)\.(\d+)")

MISSING: Final = (
    "ripgrep is not installed - use POST /files/search/init to install, or: apt install ripgrep"
)


@dataclass(frozen=True, slots=True)
class Ripgrep:
    """A ripgrep that works. `version` as it says it: `ripgrep 14.1.1`."""

    path: str
    version: str


class Ripgreps:
    """The service that knows which ripgrep to run."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: tuple[tuple[object, ...], Ripgrep] | None = None

    async def find(self) -> Ripgrep:
        """The first that is there: the installed one, then those on PATH.

        Raises `Failure`: unavailable where there is none or it is too old, bad_gateway where
        it does not work.
        """
        found = self._look()
        if found is None:
            raise Failure("unavailable", MISSING)
        path, state = found
        if self._known is not None and self._known[0] == state:
            return self._known[1]
        ripgrep = Ripgrep(path, await self.version(path))
        self._known = (state, ripgrep)
        return ripgrep

    def directories(self) -> tuple[Path, ...]:
        """Where an installation may put it, the best first."""
        return (self._config.ripgrep_dir, self._config.state_dir / "bin")

    def _look(self) -> tuple[str, tuple[object, ...]] | None:
        on_path = [one for one in os.environ.get("PATH", "").split(":") if one.startswith("/")]
        for directory in (*map(str, self.directories()), *on_path):
            path = f"{directory}/rg"
            try:
                info = os.stat(path)  # noqa: PTH116  # a dozen of them for each search
            except OSError:
                continue
            if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112
                return path, (path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        return None

    async def version(self, path: str) -> str:
        """What a binary says that it is. Raises `Failure`, as `find` does."""
        seconds = self._config.limits.ripgrep_start_seconds
        try:
            with trio.fail_after(seconds):
                done = await trio.run_process(
                    [path, "--version"],
                    stdin=subprocess.DEVNULL,
                    capture_stdout=True,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    env=_ENVIRONMENT,
                    start_new_session=True,
                    deliver_cancel=_kill,
                )
        except trio.TooSlowError:
            raise Failure(
                "bad_gateway", f"{path} --version does not answer within {seconds:g} s"
            ) from None
        except OSError as error:
            raise Failure("bad_gateway", f"{path} cannot be run: {error.strerror}") from error
        told = done.stdout[:200].decode("utf-8", "replace")
        match = _VERSION.match(told)
        if match is None or done.returncode != 0:
            raise Failure("bad_gateway", f"{path} --version says {told!r}: no ripgrep that works")
        if tuple(map(int, match.groups())) < LEAST_VERSION:
            least = ".".join(map(str, LEAST_VERSION))
            raise Failure(
                "unavailable",
                f"{match[0]} at {path} is too old, {least} is needed - "
                "use POST /files/search/init to install a newer one",
            )
        return match[0]


def where(query: ContentQuery) -> list[str]:
    """The options that say which files of the directories named are searched."""
    words = [*_WHERE, *(["--hidden"] if query.include_hidden else [])]
    for one in query.file_types:
        # A type and no glob: a glob would bring back what is ignored.
        words.append(f"--type-add=asked:?*.{_any_case(one.removeprefix('.'))}")
    return [*words, "--type=asked"] if query.file_types else words


def what(query: ContentQuery) -> list[str]:
    """The options that say what is looked for, and how it is told."""
    words = [*_WHAT, "--case-sensitive" if query.case_sensitive else "--ignore-case"]
    if not query.regex:
        words.append("--fixed-strings")
    if query.whole_word:
        words.append("--word-regexp")
    if query.context_lines:
        words.append(f"--context={query.context_lines}")
    return [*words, f"--regexp={query.q}"]


def _any_case(extension: str) -> str:
    return "".join(f"[{one.lower()}{one.upper()}]" if one.isalpha() else one for one in extension)


async def start(words: Sequence[str | bytes], *, directory: int, memory_bytes: int) -> trio.Process:
    """A ripgrep that searches in the open `directory`, in a session of its own.

    `memory_bytes` bounds its address space: it holds a line whole, and a line may be a file of
    gigabytes. Raises `Failure` (bad_gateway, unavailable).
    """
    try:
        process = await trio.lowlevel.open_process(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # The directory itself, whatever its name leads to by now; and no path is too long.
            cwd=f"/proc/self/fd/{directory}",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        is_short = from_os_error(error).code == "unavailable"
        code: Literal["unavailable", "bad_gateway"] = "unavailable" if is_short else "bad_gateway"
        raise Failure(code, f"ripgrep cannot be run: {error.strerror}") from error
    bound = partial(resource.prlimit, process.pid, resource.RLIMIT_AS, (memory_bytes,) * 2)
    _if_there(bound)
    return process


async def files(words: Sequence[str | bytes], *, directory: int) -> list[bytes]:
    """The files that a ripgrep with these words would search. Raises `Failure` (bad_gateway)."""
    try:
        done = await trio.run_process(
            words,
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=f"/proc/self/fd/{directory}",
            env=_ENVIRONMENT,
            start_new_session=True,
            deliver_cancel=_kill,
        )
    except OSError as error:
        raise Failure("bad_gateway", f"ripgrep cannot be run: {error.strerror}") from error
    code, said = done.returncode, done.stderr[:500].decode("utf-8", "replace")
    if code < 0:
        raise Failure("bad_gateway", f"ripgrep was ended by signal {-code}: {said}")
    if code not in {0, 1} and not done.stdout and "(os error 2)" not in said:
        raise Failure("bad_gateway", f"ripgrep failed with {code}: {said}")
    return list(filter(None, done.stdout.split(b"\0")))


def kill(process: trio.Process) -> None:
    """Ends a process and what it started, at once."""
    if process.returncode is None:
        _if_there(partial(os.killpg, process.pid, signal.SIGKILL))


async def _kill(process: trio.Process) -> None:
    kill(process)


def _if_there(act: Callable[[], object]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        act()

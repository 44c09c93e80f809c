"""One cgroup v2 a task: nobody in it escapes being ended, and its costs are counted.

Belongs here: finding out once whether one can be made, making, ending and removing them.
Banned here: limits on what a task may use.

cgroup v2 may be mounted aside, with its controllers in v1: ending works all the same, and what
cannot be counted is None. Where controllers are to be had, the server moves into a leaf of its
own first, since a group that has members may not pass controllers on.
Source: design, section 3, "Processes"; the kernel's `cgroup-v2.rst`.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from hutch import _native

SERVER_LEAF: Final = "hutch-server"
_ROUNDS: Final = 100
_WANTED: Final = frozenset({"memory", "pids"})
_PROBE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What a group has used; None is what this kernel does not count."""

    cpu_seconds: float | None
    max_rss_bytes: int | None
    oom_killed: bool | None


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One task's group."""

    path: Path
    counts_memory: bool = False

    def open(self) -> int:
        """A descriptor of the directory, owned by the caller, to start a process in it."""
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def members(self) -> list[int]:
        """The processes in it and below it."""
        found: list[int] = []
        for place in (self.path, *_below(self.path)):
            with suppress(OSError):
                found += [int(one) for one in (place / "cgroup.procs").read_text().split()]
        return found

    def kill(self) -> None:
        """Ends every process in it and below it, those that are being forked included."""
        try:
            (self.path / "cgroup.kill").write_text("1")
        except FileNotFoundError:
            self._kill_one_by_one()
        except OSError:
            return

    def _kill_one_by_one(self) -> None:
        # Before Linux 5.14. A group that is gone has no members either.
        for _ in range(_ROUNDS):
            found = self.members()
            if not found:
                return
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def send(self, number: int) -> None:
        """Sends a signal to every process in it."""
        for pid in self.members():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def remove(self) -> bool:
        """Removes it, and what was made below it; False while somebody is in it."""
        with suppress(OSError):
            os.rmdir(self.path)  # noqa: PTH106  # the usual case, and each command waits for it
            return True
        for place in (*_below(self.path), self.path):
            try:
                place.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    def costs(self) -> Costs:
        """What it has used so far."""
        usage = _keyed(f"{self.path}/cpu.stat").get("usage_usec")
        cpu = None if usage is None else usage / 1e6
        if not self.counts_memory:
            return Costs(cpu_seconds=cpu, max_rss_bytes=None, oom_killed=None)
        events = _keyed(f"{self.path}/memory.events").get("oom_kill")
        peak: int | None = None
        with suppress(OSError, ValueError):
            peak = int((self.path / "memory.peak").read_text())
        killed = None if events is None else events > 0
        return Costs(cpu_seconds=cpu, max_rss_bytes=peak, oom_killed=killed)

    def is_populated(self) -> bool:
        """Whether somebody is in it or below it."""
        return _keyed(f"{self.path}/cgroup.events").get("populated", 0) > 0


class Watch:
    """Becomes readable when a group becomes empty, or not empty.

    The kernel tells of it by EPOLLPRI, for which Trio cannot wait: an epoll of its own can.
    """

    def __init__(self, group: Cgroup) -> None:
        """Raises OSError where the group is gone, or descriptors are."""
        self._events = os.open(group.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._epoll = select.epoll()
        except OSError:
            os.close(self._events)
            raise
        self._epoll.register(self._events, select.EPOLLPRI)

    def fileno(self) -> int:
        """What to wait for."""
        return self._epoll.fileno()

    def is_populated(self) -> bool:
        """Whether somebody is in the group; what was told before is forgotten.

        Asks by what it holds open: it needs no descriptor, of which there may be none.
        """
        try:
            words = os.pread(self._events, 4096, 0).split()
        except OSError:
            return False  # the group is gone
        return words[words.index(b"populated") + 1] != b"0"

    def wait(self, seconds: float) -> bool:
        """Waits in this thread; whether anything was told."""
        return bool(self._epoll.poll(seconds))

    def close(self) -> None:
        """Closes what it holds."""
        self._epoll.close()
        os.close(self._events)


class Cgroups:
    """The groups of one server, below a group of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = count()
        self._counts_memory = "memory" in _words(root / "cgroup.subtree_control")

    def make(self) -> Cgroup:
        """A new group. Raises OSError."""
        while True:
            path = self.root / f"task-{next(self._numbers)}"
            # An earlier instance may have left one whose processes cannot be ended.
            with suppress(FileExistsError):
                # Somebody may have tidied up: an empty root looks like a leftover.
                path.mkdir(parents=True)
                return Cgroup(path, self._counts_memory)

    def kill_all(self) -> None:
        """Ends whatever any task left."""
        Cgroup(self.root).kill()

    def close(self) -> None:
        """Removes what is empty."""
        Cgroup(self.root).remove()


def open_cgroups(state_dir: Path) -> Cgroups | None:
    """The groups of the server with this state directory; None where none can be made.

    Ends and removes what an earlier instance left: the state directory says where it was.
    """
    note = state_dir / "cgroup"
    with suppress(OSError):
        _end_leftovers(Path(note.read_text()))
    try:
        root = _own_root(state_dir)
        _end_leftovers(root)
        root.mkdir(exist_ok=True)
    except (OSError, LookupError):
        return None
    if not _works(root):
        with suppress(OSError):
            root.rmdir()
        return None
    note.write_text(str(root))
    return Cgroups(root)


def _end_leftovers(root: Path) -> None:
    group = Cgroup(root)
    if not root.name.startswith("hutch-") or not (root / "cgroup.procs").exists():
        return
    group.kill()
    wait_empty(group, _PROBE_SECONDS)
    group.remove()


def wait_empty(group: Cgroup, seconds: float) -> bool:
    """Waits in this thread until nobody is in the group; whether that is so."""
    try:
        watch = Watch(group)
    except OSError:
        return True
    deadline = time.monotonic() + seconds
    try:
        while watch.is_populated():
            if not watch.wait(max(deadline - time.monotonic(), 0)):
                return False
    finally:
        watch.close()
    return True


def _own_root(state_dir: Path) -> Path:
    base = _mount() / _own_path()
    if base.name == SERVER_LEAF:
        base = base.parent
    with suppress(OSError):
        _pass_controllers_on(base)
    name = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:16]
    return base / f"hutch-{name}"


def _mount() -> Path:
    """Where cgroup v2 is mounted. Raises LookupError."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        if tail.split()[0] == "cgroup2" and head.split()[3] == "/":
            return Path(head.split()[4].encode().decode("unicode_escape"))
    raise LookupError("no cgroup v2 is mounted")


def _own_path() -> str:
    """The server's own group, relative to the mount. Raises LookupError."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::/"):
            return line[4:]
    raise LookupError("in no group of cgroup v2")


def _pass_controllers_on(base: Path) -> None:
    """Has the groups below `base` counted. Raises OSError where others are members of it."""
    offered = _WANTED & set((base / "cgroup.controllers").read_text().split())
    if not offered or offered <= set((base / "cgroup.subtree_control").read_text().split()):
        return
    # The root of all may have members and pass controllers on; it has no such file.
    is_root = not (base / "cgroup.type").exists()
    if not is_root:
        leaf = base / SERVER_LEAF
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
    try:
        _enable(base, offered)
    except OSError:
        # Others are members of it: we go back to them.
        if not is_root:
            (base / "cgroup.procs").write_text(str(os.getpid()))
            leaf.rmdir()
        raise


def _enable(place: Path, controllers: frozenset[str] | set[str]) -> None:
    (place / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in controllers))


def _works(root: Path) -> bool:
    """Whether a process can be started in a group below `root`, and the group removed."""
    with suppress(OSError):
        _enable(root, _WANTED & set((root / "cgroup.controllers").read_text().split()))
    probe = Cgroup(root / "probe")
    try:
        probe.path.mkdir()
        group, null = probe.open(), os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        process = _native.spawn(
            b"/bin/sh",
            [b"sh", b"-c", b":"],
            [],
            directory=b"/",
            standard=(null, null, null),
            terminal=False,
            cgroup=group,
            user=None,
            descriptors=None,
        )
        select.select([process.fileno()], [], [], _PROBE_SECONDS)
        return process.try_reap() is not None
    except OSError:
        return False
    finally:
        os.close(group)
        os.close(null)
        probe.remove()


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()


def _below(path: Path) -> list[Path]:
    """The groups below a group, the deepest first."""
    return [Path(place) for place, _, _ in os.walk(path, topdown=False)][:-1]


def _keyed(path: str) -> dict[str, int]:
    """A file of names and numbers, a pair a line; empty where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        words = os.read(descriptor, 4096).decode("ascii").split()
    finally:
        os.close(descriptor)
    return dict(zip(words[::2], map(int, words[1::2]), strict=False))

"""`kill -9` at every system call of a write, a copy, a move: the old file or the new, and nothing
else.

strace delivers the signal as the n-th call is entered, for every n until the work runs to its
end. Then start-up's recovery runs, and the directory must hold what it should.
Source: design, section 5, "writes"; wire contract, section 2, "Write".
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from tests.archives import entry, made
from tests.client import Client
from tests.serving import serving
from tests.tracing import can_trace
from tests.watching import wait_until

from hutch import _native
from hutch._native import Pending

OLD, NEW = b"old " * 1000, b"new " * 100_000

Work = Callable[[Path, Pending], None]
Transfer = Callable[..., _native.Copied]


needs_strace = pytest.mark.skipif(not can_trace(), reason="strace cannot trace here")


def slots(directory: Path) -> Pending:
    return _native.Pending(os.fsencode(directory))


@dataclass(frozen=True)
class Call:
    """The `count`-th call of one name."""

    name: str
    count: int

    @property
    def injection(self) -> list[str]:
        # strace counts each system call for itself.
        return ["-e", f"inject={self.name}:signal=KILL:when={self.count}"]


def traced(work: Callable[[], None], log: Path | str, *options: str) -> tuple[int, bool]:
    """Runs `work` in a process of its own under strace: its status, and whether it got done."""
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Not before: what the C library does at the end of a fork is none of the work.
        os.write(said_write, b"?")
        os.read(go_read, 1)
        work()
        os.write(said_write, b"!")
        os._exit(0)
    os.close(said_write)
    os.read(said_read, 1)
    words = ["strace", "-o", str(log), "-p", str(pid), *options]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        os.write(go_write, b"!")
        _, status = os.waitpid(pid, 0)
    said = os.read(said_read, 1) == b"!"
    for one in (go_read, go_write, said_read):
        os.close(one)
    return status, said


def calls_of(work: Callable[[], None], log: Path) -> list[Call]:
    """Every system call that `work` makes, in order, that of saying so included."""
    status, said = traced(work, log)
    assert (status, said) == (0, True)
    seen: Counter[str] = Counter()
    calls = []
    for line in log.read_text().splitlines():
        name, bracket, _ = line.partition("(")
        # The process waits in a read when it begins, and ends with an exit. When the allocator
        # asks for more is no matter of files, nor the same each time.
        if not bracket or name in {"read", "exit_group", "brk", "mmap", "munmap"}:
            continue
        seen[name] += 1
        calls.append(Call(name, seen[name]))
    return calls


def killed_at(call: Call, work: Callable[[], None]) -> bool:
    """Whether `work`, killed as it enters the call, had said that it was done."""
    status, said = traced(work, "/dev/null", *call.injection)
    assert os.WTERMSIG(status) == signal.SIGKILL, call
    return said


def write(path: Path, pending: Pending, *, named: bool = False) -> None:
    place = _native.locate(os.fsencode(path), follow=True)
    writer = _native.Writer(place, pending, named=named)
    writer.write(NEW)
    writer.commit(_native.Stop())


def write_named(path: Path, pending: Pending) -> None:
    write(path, pending, named=True)


def source_of(path: Path) -> Path:
    """What is copied or moved to `path`."""
    return path.parents[1] / "source"


def transfer(work: Transfer, path: Path, pending: Pending, *, source: Path | None = None) -> None:
    account = work(
        _native.locate(os.fsencode(source or source_of(path)), follow=False),
        _native.locate(os.fsencode(path), follow=False),
        _native.Guard([]),
        pending,
        _native.Stop(),
        overwrite=True,
        seconds=60,
    )
    assert (account.clash, account.failures) == (None, 0)


def copy(path: Path, pending: Pending) -> None:
    transfer(_native.copy, path, pending)


def move(path: Path, pending: Pending) -> None:
    transfer(_native.relocate, path, pending)


ARCHIVE = made([entry("file", NEW)])


def unpack(path: Path, pending: Pending) -> None:
    extractor = _native.Extractor(
        os.fsencode(path.parent),
        pending,
        _native.Guard([]),
        keep_owner=False,
        # The machine stays up: what is killed has written what it has written.
        sync=False,
        entries=1,
        total_bytes=len(NEW),
        ratio=1,
        name_bytes=100,
    )
    stop = _native.Stop()
    assert extractor.push(ARCHIVE, stop) is None
    assert extractor.finish(stop) is None


WORK: dict[str, tuple[Work, bool]] = {
    "copy over": (copy, True),
    "copy": (copy, False),
    "move over": (move, True),
    "unpack over": (unpack, True),
    "unpack": (unpack, False),
    "replace": (write, True),
    "make": (write, False),
    "replace from a named file": (write_named, True),
    "make from a named file": (write_named, False),
}


@dataclass(frozen=True)
class Stage:
    """A directory with a file in it, and slots."""

    tree: Path
    pending: Path

    @property
    def file(self) -> Path:
        return self.tree / "file"

    def set_up(self, *, is_there: bool) -> Pending:
        """As at first, with the slots open."""
        for place in (self.tree, self.pending):
            shutil.rmtree(place, ignore_errors=True)
        self.tree.mkdir(parents=True)
        source_of(self.file).write_bytes(NEW)
        if is_there:
            self.file.write_bytes(OLD)
        return slots(self.pending)

    def recovered(self) -> bytes | None:
        """The file's content after start-up; there is nothing else."""
        slots(self.pending)
        assert set(os.listdir(self.tree)) <= {"file"}
        assert os.listdir(self.pending) == []
        return self.file.read_bytes() if self.file.exists() else None


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "tree", tmp_path / "pending")


@needs_strace
@pytest.mark.parametrize("name", WORK)
def test_killed_at_every_call_of_a_write(tmp_path: Path, stage: Stage, name: str) -> None:
    work, is_there = WORK[name]
    old = OLD if is_there else None

    def run() -> None:
        work(stage.file, opened)

    opened = stage.set_up(is_there=is_there)
    calls = calls_of(run, tmp_path / "log")
    assert len(calls) > 15
    outcomes = []
    for call in calls:
        opened = stage.set_up(is_there=is_there)
        said = killed_at(call, run)
        content = stage.recovered()
        assert content in (NEW, old), call
        assert content == NEW or not said, call
        outcomes.append(content == NEW)
    # There is one decisive step: the old file before it, the new one after.
    assert outcomes == sorted(outcomes)
    assert len(set(outcomes)) == 2


@needs_strace
def test_killed_at_every_call_of_a_move_to_another_file_system(
    tmp_path: Path, stage: Stage
) -> None:
    """What is moved stands whole at one end at least, and at the new one once it is said so."""
    other = tempfile.TemporaryDirectory(dir="/dev/shm")
    far = Path(other.name) / "tree" / "file"

    def begin() -> Pending:
        shutil.rmtree(far.parent, ignore_errors=True)
        far.parent.mkdir()
        source_of(far).write_bytes(NEW)
        return stage.set_up(is_there=False)

    def run() -> None:
        transfer(_native.relocate, stage.file, opened, source=source_of(far))

    with other:
        opened = begin()
        calls = calls_of(run, tmp_path / "log")
        ends = set()
        for call in calls:
            opened = begin()
            said = killed_at(call, run)
            arrived = stage.recovered()
            left = source_of(far).read_bytes() if source_of(far).exists() else None
            assert arrived in (NEW, None), call
            assert NEW in (arrived, left), call
            assert (arrived, left) == (NEW, None) or not said, call
            ends.add((arrived is not None, left is not None))
    # It was copied first, and then taken away.
    assert ends == {(False, True), (True, True), (True, False)}


@needs_strace
@pytest.mark.parametrize("at", ["renameat2", "pwrite64"])
def test_killed_at_every_call_of_the_recovery(tmp_path: Path, stage: Stage, at: str) -> None:
    """A crash leaves a slot, and perhaps the file it names; then start-up crashes as well."""

    def crash() -> None:
        opened = stage.set_up(is_there=True)
        last = 3 if at == "pwrite64" else 1
        killed_at(Call(at, last), lambda: write(stage.file, opened))

    def recover() -> None:
        slots(stage.pending)

    crash()
    assert len(os.listdir(stage.pending)) == 1
    assert len(os.listdir(stage.tree)) == (1 if at == "pwrite64" else 2)
    calls = calls_of(recover, tmp_path / "log")
    assert len(calls) > 8
    for call in calls:
        crash()
        killed_at(call, recover)
        assert stage.recovered() == (NEW if at == "pwrite64" else OLD), call


class Writing:
    """Writes numbers to a file over HTTP, one after the other, until the server is gone."""

    def __init__(self, client: Client, path: Path, first: int) -> None:
        self._client = client
        self._path = path
        self.begun = self.answered = first
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(httpx2.HTTPError):
            while True:
                self.begun += 1
                body = {"path": str(self._path), "content": f"{self.begun:08d}" * 50_000}
                self._client.request("PUT", "/files/write", body=body)
                self.answered = self.begun

    def join(self) -> None:
        self._thread.join()


def test_a_killed_server_leaves_old_or_new_and_an_answered_write_is_the_new(
    tmp_path: Path,
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    number = 0
    for _ in range(3):
        with serving(tmp_path / "server") as target, target.client() as client:
            assert os.listdir(tree) == (["file"] if number else [])
            writing = Writing(client, tree / "file", number)
            enough = number + 5
            wait_until(lambda: writing.answered >= enough)  # noqa: B023  # called here
            os.kill(target.pid, signal.SIGKILL)
            writing.join()
        content = (tree / "file").read_bytes()
        number = int(content[:8])
        assert content == b"%08d" % number * 50_000
        assert writing.answered <= number <= writing.begun
    with serving(tmp_path / "server"):
        assert os.listdir(tree) == ["file"]

"""A mount that hangs holds up whoever asks for it, and nobody else.

The mount is FUSE with nobody behind it: the kernel's first question is never answered.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.serving import Target, serving
from tests.sockets import asking

PATHS = ("/files/stat", "/files/read", "/files/raw")
MANY = 20
LANES = 3 * 16


def is_possible() -> bool:
    return os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)


pytestmark = pytest.mark.skipif(not is_possible(), reason="no FUSE without root")


@contextmanager
def hung(place: Path) -> Iterator[Path]:
    """A mount over `place` that answers nothing; it ends for good with the descriptor."""
    place.mkdir()
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        words = ["mount", "-i", "-t", "fuse", "-o", options, "none", os.fspath(place)]
        subprocess.run(words, check=True, pass_fds=[device])
        yield place
    finally:
        os.close(device)
        subprocess.run(["umount", "--lazy", os.fspath(place)], check=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Target]:
    with serving(tmp_path / "server") as one:
        yield one


def test_nobody_else_waits(server: Target, tree: Path) -> None:
    """Every thread for such work hangs; what is in the kernel's memory needs none."""
    file = tree / "file"
    file.write_text("content")
    if os.major(file.stat().st_dev) == 0:
        pytest.skip("no disk below the temporary directory")
    with hung(tree / "hung") as place, server.client() as client, ExitStack() as stack:
        for path in PATHS:
            for number in range(MANY):  # each another name: of one the kernel asks once
                stack.enter_context(asking(server, f"{path}?path={place}/{path[7:]}{number}"))
        deadline = time.monotonic() + 20
        while threads_waiting(server) < LANES:
            assert time.monotonic() < deadline, "too few threads ask the mount"
            time.sleep(0.01)  # a thread that waits tells nobody
        assert client.json("/health") == {"status": "ok"}
        for path in PATHS:
            assert client.get(path, path=file).status_code == 200


def test_a_server_ends_all_the_same(tmp_path: Path, tree: Path) -> None:
    with hung(tree / "hung") as place, ExitStack() as stack:
        with serving(tmp_path / "server", "--grace-seconds=0.1") as one:
            for path in PATHS:
                stack.enter_context(asking(one, f"{path}?path={place}/{path[7:]}"))
            deadline = time.monotonic() + 20
            while threads_waiting(one) < len(PATHS):
                assert time.monotonic() < deadline, "too few threads ask the mount"
                time.sleep(0.01)  # a thread that waits tells nobody
        # `serving` has stopped it by now, and raises where it did not end.


def threads_waiting(target: Target) -> int:
    """Threads of the server that wait for FUSE."""
    found = 0
    for one in Path(f"/proc/{target.pid}/task").iterdir():
        found += b"fuse" in (one / "wchan").read_bytes()
    return found

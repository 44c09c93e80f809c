"""A mount that hangs holds up whoever asks for it, and nobody else.

The mount is FUSE with nobody behind it: the kernel's first question is never answered.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests import mounting
from tests.mounting import hung, threads_waiting
from tests.serving import Target, serving
from tests.sockets import asking
from tests.watching import wait_until

PATHS = ("/files/stat", "/files/read", "/files/raw")
MANY = 20
LANES = 3 * 16


pytestmark = mounting.needs_fuse


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
        while threads_waiting(server.pid) < LANES:
            assert time.monotonic() < deadline, "too few threads ask the mount"
            time.sleep(0.01)  # a thread that waits tells nobody
        assert client.json("/health") == {"status": "ok"}
        for path in PATHS:
            assert client.get(path, path=file).status_code == 200


def test_walks_and_downloads_of_others_go_on(server: Target, tree: Path) -> None:
    """The threads that go through trees are few: those that hang are none of theirs."""
    (tree / "a").mkdir()
    (tree / "a/file").write_text("content")
    with hung(tree / "hung") as place, server.client() as client, ExitStack() as stack:
        before = threads_waiting(server.pid)
        for number in range(os.cpu_count() or 1):
            stack.enter_context(asking(server, f"/files/stream?path={place}/{number}"))
            stack.enter_context(asking(server, f"/files?path={tree}&nested=true"))
        wait_until(lambda: threads_waiting(server.pid) > before)
        assert client.json("/files", path=tree / "a")["count"] == 1
        assert len(client.lines("/files/stream", path=tree / "a")) > 0
        answer = client.request(
            "POST", "/files/transfer/download", body={"paths": [str(tree / "a")]}
        )
        assert answer.status_code == 200


def test_a_server_ends_all_the_same(tmp_path: Path, tree: Path) -> None:
    with hung(tree / "hung") as place, ExitStack() as stack:
        with serving(tmp_path / "server", "--grace-seconds=0.1") as one:
            for path in PATHS:
                stack.enter_context(asking(one, f"{path}?path={place}/{path[7:]}"))
            deadline = time.monotonic() + 20
            while threads_waiting(one.pid) < len(PATHS):
                assert time.monotonic() < deadline, "too few threads ask the mount"
                time.sleep(0.01)  # a thread that waits tells nobody
        # `serving` has stopped it by now, and raises where it did not end.

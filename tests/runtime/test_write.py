"""The service that writes: what it takes, and when."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hutch import _native
from hutch._native import Stop, Writer
from hutch.runtime import write
from hutch.runtime.preconditions import Locks
from hutch.runtime.write import Writes
from hutch.wire.change import Condition
from hutch.wire.config import Limits
from hutch.wire.write import UploadQuery
from tests.watching import held

PIECE = 64 * 1024


@pytest.fixture
def writes(tmp_path: Path) -> Writes:
    pending = _native.Pending(os.fsencode(tmp_path / "pending"))
    return Writes(Limits(), pending, Locks())


async def test_nothing_more_is_taken_while_the_disk_is_busy(
    writes: Writes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, busy, piece_is_full = 0, threading.Event(), trio.Event()

    def slow(writer: Writer, data: bytes, stop: Stop) -> None:
        busy.wait()
        writer.write(data)

    async def pull() -> bytes | None:
        nonlocal taken
        await trio.lowlevel.checkpoint()
        taken += 1
        if taken == 8:
            piece_is_full.set()
        return b"x" * PIECE if taken <= 100 else None

    monkeypatch.setattr(write, "_write", slow)
    query = UploadQuery(path=os.fsencode(tmp_path / "file"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writes.upload, query, Condition(), pull)
        try:
            with trio.fail_after(10):
                await piece_is_full.wait()
            await wait_all_tasks_blocked(0.05)
            assert taken == 8
        finally:
            busy.set()
    assert (tmp_path / "file").stat().st_size == 100 * PIECE


async def test_a_cancelled_upload_leaves_nothing(writes: Writes, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    path = tmp_path / "tree/file"

    async def pull() -> bytes | None:
        await trio.lowlevel.checkpoint()
        return b"x" * PIECE

    with trio.move_on_after(0.1) as scope:
        await writes.upload(UploadQuery(path=os.fsencode(path)), Condition(), pull)
    assert scope.cancelled_caught
    assert os.listdir(path.parent) == []
    assert held(os.getpid(), path.parent) == []

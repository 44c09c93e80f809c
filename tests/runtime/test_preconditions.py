"""The locks of files: one a file however it is spelled, forgotten when nobody uses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hutch import _native
from hutch._native import Place
from hutch.runtime.preconditions import Locks


def place(path: Path) -> Place:
    return _native.locate(os.fsencode(path), follow=True)


@pytest.fixture
def spelled(tmp_path: Path) -> tuple[Place, Place, Place]:
    """One file twice, and another."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    return place(tmp_path / "file"), place(tmp_path / "link"), place(tmp_path / "other")


async def test_one_at_a_time_whatever_the_spelling(spelled: tuple[Place, Place, Place]) -> None:
    file, link, other = spelled
    locks, order = Locks(), list[str]()

    async def second() -> None:
        async with locks.hold(link):
            order.append("second")

    async with trio.open_nursery() as nursery:
        async with locks.hold(file):
            nursery.start_soon(second)
            await wait_all_tasks_blocked()
            async with locks.hold(other):
                order.append("other")
            order.append("first")
    assert order == ["other", "first", "second"]
    assert len(locks) == 0


async def test_who_gives_up_waiting_leaves_nothing(spelled: tuple[Place, Place, Place]) -> None:
    file, link, other = spelled
    locks = Locks()
    async with locks.hold(file):
        with trio.move_on_after(0) as scope:
            async with locks.hold(other, link):
                raise AssertionError("held twice")
        assert scope.cancelled_caught
        assert len(locks) == 1
    assert len(locks) == 0


async def test_two_that_want_both_do_not_wait_for_each_other(
    spelled: tuple[Place, Place, Place],
) -> None:
    file, link, other = spelled
    locks, done = Locks(), list[int]()

    async def both(*places: Place) -> None:
        for _ in range(20):
            async with locks.hold(*places):
                await trio.lowlevel.checkpoint()
        done.append(1)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both, file, other)
            nursery.start_soon(both, other, link)
            nursery.start_soon(both, file, link)
    assert (len(done), len(locks)) == (3, 0)

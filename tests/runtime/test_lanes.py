"""Lanes: blocking work keeps its own exceptions, and is abandoned only if it merely looks."""

from __future__ import annotations

import threading

import pytest
import trio

from hutch._native import Stop
from hutch.runtime.lanes import Lane


def fail(_stop: Stop) -> None:
    raise FileNotFoundError(2, "gone", "/a")


async def test_an_exception_arrives_as_it_was_raised() -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        await Lane(1).run_stoppable(fail)


async def test_a_result_arrives() -> None:
    assert await Lane(1).run_stoppable(lambda stop: stop.is_set()) is False


async def test_an_interruption_that_nobody_asked_for_is_raised() -> None:
    def interrupt(_stop: Stop) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await Lane(1).run_stoppable(interrupt)


async def test_a_cancelled_caller_sets_the_flag_and_waits() -> None:
    started, ended = threading.Event(), threading.Event()

    def work(stop: Stop) -> None:
        started.set()
        while not stop.is_set():
            ended.wait(0.001)
        ended.set()
        raise InterruptedError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Lane(1).run_stoppable, work)
        assert await trio.to_thread.run_sync(started.wait, 10)
        nursery.cancel_scope.cancel()
    assert ended.is_set()


async def test_a_look_is_left_behind_and_told_so() -> None:
    told, looking, hung = threading.Event(), threading.Event(), threading.Event()

    def look(stop: Stop) -> None:
        looking.set()
        hung.wait(10)
        if stop.is_set():
            told.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Lane(1).look, look)
        assert await trio.to_thread.run_sync(looking.wait, 10)
        nursery.cancel_scope.cancel()
    assert not told.is_set()
    hung.set()
    assert await trio.to_thread.run_sync(told.wait, 10)


async def test_a_look_left_behind_keeps_its_place() -> None:
    lane, hung = Lane(1), threading.Event()
    with trio.move_on_after(0.01):
        await lane.look(lambda _stop: hung.wait(10))
    with trio.move_on_after(0.01) as waited:
        await lane.look(lambda _stop: None)
    assert waited.cancelled_caught
    hung.set()
    with trio.fail_after(10):
        await lane.look(lambda _stop: None)

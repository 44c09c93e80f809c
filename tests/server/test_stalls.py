"""Clients that take nothing: they slow nobody but themselves, and not for ever."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from hutch.server.stalls import Stalls
from hutch.wire.config import Limits
from tests.server.site import Server, Site, Wire, eventually, get, http_only, resident_kib

KIB = 1024


class Stream:
    """An endless answer of 256 KiB pieces; counts those under way."""

    def __init__(self) -> None:
        self.under_way = 0
        self.app = http_only(self._send)

    def is_under_way(self, count: int) -> bool:
        return self.under_way == count

    async def _send(self, _scope: Any, _receive: Any, send: Any) -> None:
        self.under_way += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                piece = bytes(256 * KIB)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            self.under_way -= 1


async def _stalled(server: Server) -> Wire:
    wire = await server.connect(receive_buffer=4 * KIB)
    await wire.send(get("/"))
    return wire


async def test_a_reader_of_nothing_is_closed_after_its_deadline(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream()
    server = await site.serve(stream.app, send_idle_seconds=0.3)
    await _stalled(server)
    await eventually(lambda: stream.under_way == 1, "it did not start")
    await eventually(lambda: stream.under_way == 0, "it is still there")
    await server.lives()
    assert "Traceback" not in caplog.text


async def test_a_slow_reader_is_never_closed(site: Site) -> None:
    """A little now and then is enough, though the socket is not writable in between."""
    stream = Stream()
    server = await site.serve(stream.app, send_idle_seconds=0.4)
    wire = await _stalled(server)
    for _ in range(16):
        assert await wire.stream.receive_some(2 * KIB)
        await trio.sleep(0.1)
        assert stream.under_way == 1


async def test_above_the_bound_some_go_early_and_the_rest_stay(site: Site) -> None:
    stream = Stream()
    server = await site.serve(stream.app, stalled_responses=4, stalled_grace_seconds=0.2)
    for count in range(1, 11):
        await _stalled(server)
        await eventually(partial(stream.is_under_way, count), "it did not start")
    await eventually(lambda: stream.under_way == 4, "too many are left")
    await trio.sleep(0.4)
    assert stream.under_way == 4


async def test_many_stalled_readers_cost_little_memory_and_no_thread(site: Site) -> None:
    stream = Stream()
    server = await site.serve(stream.app, stalled_responses=1000)
    await _stalled(server)
    await eventually(lambda: stream.under_way == 1, "it did not start")
    gc.collect()
    before = resident_kib()
    readers = 100
    for _ in range(readers):
        await _stalled(server)
    await eventually(lambda: stream.under_way == readers + 1, "they did not start")
    # The test's own ends of the connections are in this figure too.
    each = (resident_kib() - before) / readers
    assert each < 256 + 64, f"{each:.0f} KiB a reader"
    await server.lives()
    with trio.fail_after(5):
        await server.stop()
    assert stream.under_way == 0


async def test_deadlines_of_stalls_follow_their_number(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The table: who enters, who leaves, and whose deadline is the early one."""
    stalls = Stalls(Limits(stalled_responses=2, stalled_grace_seconds=30, send_idle_seconds=300))
    start = trio.current_time()
    scopes: dict[str, trio.CancelScope] = {}
    leaving: dict[str, trio.Event] = {}

    async def wait(name: str, *, task_status: trio.TaskStatus[None]) -> None:
        leaving[name] = trio.Event()
        with stalls.waiting() as scopes[name]:
            task_status.started()
            await leaving[name].wait()
        del scopes[name]

    async def leave(name: str) -> None:
        leaving[name].set()
        await trio.testing.wait_all_tasks_blocked()

    def deadlines() -> dict[str, float]:
        return {name: one.deadline - start for name, one in scopes.items()}

    for name in "abcd":
        await nursery.start(wait, name)
    assert deadlines() == {"a": 30, "b": 30, "c": 300, "d": 300}
    # A patient one leaves: one fewer must go early, the youngest of those.
    await leave("d")
    assert deadlines() == {"a": 30, "b": 300, "c": 300}
    await nursery.start(wait, "e")
    assert deadlines() == {"a": 30, "b": 30, "c": 300, "e": 300}
    # An early one leaves: nothing changes for the others.
    await leave("a")
    assert deadlines() == {"b": 30, "c": 300, "e": 300}
    for name in "ecb":
        await leave(name)
    assert len(stalls) == 0

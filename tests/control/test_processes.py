"""The driver's processes, without a control plane around them."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hutch.control.drivers import processes
from hutch.control.drivers.driver import Plan
from hutch.control.drivers.process import open_process_driver
from hutch.control.drivers.processes import Process
from hutch.wire.control.config import ControlLimits, check_network
from hutch.wire.errors import Failure


async def test_a_server_that_is_just_being_started_ends_with_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    started: list[Process] = []
    spawn = processes.spawn

    def slow(command: list[str], **rest: Any) -> Process:
        begun.set()
        assert may_go_on.wait(20)
        started.append(spawn(["sleep", "600"], **rest))
        return started[0]

    monkeypatch.setattr(processes, "spawn", slow)
    network = check_network("127.255.253.0/24")
    async with open_process_driver(tmp_path, network, ControlLimits()) as driver:
        ip = driver.address(1)
        plan = Plan(id="ws_a", ip=ip, port=9990, token="t" * 64, serving=True)

        async def start() -> None:
            with suppress(Failure):
                await driver.start(plan)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.to_thread.run_sync(begun.wait)
            nursery.start_soon(driver.end_all)
            await trio.testing.wait_all_tasks_blocked()
            may_go_on.set()
        assert started[0].ended.is_set()
        with pytest.raises(Failure, match="is ending"):
            await driver.start(plan)
        assert len(started) == 1

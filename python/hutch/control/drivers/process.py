"""The driver `process`: a workspace is a `hutch serve` on this machine. It isolates nothing.

Each workspace has a directory of its own (state, home, log) and an address of its own within
127.0.0.0/8, and that is all that parts it from the others and from the machine: its commands run
as the user of the control plane and see what that user sees. For laptops and tests.

A workspace that runs is no more than its directory and its address; the server in it is the
process, which runs while access is enabled. Servers are in sessions of their own: the control
plane may end, die and come back, and finds them again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final, TypeVar

import trio

from hutch.control.drivers import processes
from hutch.control.drivers.driver import PORT, Health, Plan
from hutch.control.drivers.places import Place, Places
from hutch.control.drivers.processes import Process
from hutch.control.drivers.reaching import Reach
from hutch.wire.control.config import ControlLimits
from hutch.wire.control.network import Policy
from hutch.wire.errors import Failure

T = TypeVar("T")

_log: Final = logging.getLogger("hutch.control")

_THREADS: Final = 8
# A file appears, and a token is taken, without telling anybody.
_POLL_SECONDS: Final = 0.01
_TRIM_SECONDS: Final = 60.0
# Where the control plane's own end waits for it, which may take eight: after that a server that
# had to be killed leaves commands to be ended.
_ALL_SECONDS: Final = 5.5
# What a server may know of our environment: not our variables, and no secret of the caller's.
_PASSED: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "SHELL", "USER", "LOGNAME")
_PASSED_TOO: Final = ("HUTCH_RIPGREP_URL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy")


class ProcessDriver:
    """Workspaces as processes; see the module."""

    honours: Final = frozenset[str]()
    # The gateway keeps it: no address here can be reached from another machine anyway.
    enforces: Final = frozenset({"public_access"})
    link_warnings: Final = (
        "private_link_ids: recorded; workspaces are processes of one machine here and reach each "
        "other anyway, so only the raw token keeps anybody out",
    )

    def __init__(
        self, root: Path, network: IPv4Network, limits: ControlLimits, nursery: trio.Nursery
    ) -> None:
        self._places = Places(root)
        self._network = network
        self._limits = limits
        self._nursery = nursery
        self._reach = Reach()
        self._threads = trio.CapacityLimiter(_THREADS)
        self._running: dict[str, Process] = {}
        # Starts under way; once everything ends there are no new ones.
        self._starts: set[trio.Event] = set()
        self._is_ending = False
        self._tell, self._told = trio.open_memory_channel[str](1 << 20)

    @property
    def addresses(self) -> int:
        """Those of the network, without its own and its last."""
        return self._network.num_addresses - 2

    def address(self, number: int) -> str:
        """The number-th address of the network."""
        return str(self._network[number])

    def gateway(self, ip: str) -> str:
        """There is none: the machine itself."""
        return "127.0.0.1"

    def is_free(self, number: int) -> bool:
        """Whether nothing listens there: another control plane's workspace, say."""
        with socket.socket() as probe:
            # As a server would: connections that are over must not be in the way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.address(number), PORT))
            except OSError:
                return False
        return True

    async def create(self, plan: Plan) -> None:
        """Makes the directories."""
        await self._in_thread(self._places.of(plan.id).make)

    async def start(self, plan: Plan) -> None:
        """Starts the server, or has the one that runs take the token, or ends it."""
        if not plan.serving:
            await self.stop(plan)
            return
        await self._in_thread(self._places.of(plan.id).make)
        process = await self._process(plan.id)
        if process is not None:
            if await self._takes_token(plan, process):
                return
            # It hangs, or is none of ours any more.
            await self._end(plan.id, process)
        await self._spawn(plan)

    async def stop(self, plan: Plan) -> None:
        """Ends the server with all that it runs, though it was killed or has died."""
        process = await self._process(plan.id)
        if process is not None:
            await self._end(plan.id, process)
        await self._end_remains(plan.id)

    async def delete(self, plan: Plan) -> None:
        """Ends the server; the directory is gone at once, its content soon."""
        await self.stop(plan)
        await self._in_thread(partial(self._places.discard, plan.id))
        self._nursery.start_soon(self.empty_trash)

    async def apply_policy(self, plan: Plan, policy: Policy, peers: tuple[str, ...]) -> None:
        """Nothing to do: the gateway and the raw token keep it."""

    async def health(self, plan: Plan) -> Health:
        """Whether our process is there and answers to the token; it looks for no other."""
        process = self._running.get(plan.id)
        instance = None if process is None else self._places.of(plan.id).instance(process.pid)
        if instance is None:
            return Health(serving=False)
        return Health(serving=await self._reach.accepts(plan), instance=instance)

    async def lost(self) -> str:
        """The next workspace whose server ended by itself."""
        return await self._told.receive()

    async def empty_trash(self) -> None:
        """Removes what deleted workspaces left."""
        await trio.to_thread.run_sync(self._places.empty_trash, abandon_on_cancel=True)

    async def trim_logs(self) -> None:
        """Keeps the logs of servers within their bound, for ever."""
        while True:
            await trio.sleep(_TRIM_SECONDS)
            for workspace in tuple(self._running):
                trim = partial(self._places.of(workspace).trim_log, self._limits.log_bytes)
                await self._in_thread(trim)

    # --- processes -----------------------------------------------------------------------------

    async def _process(self, workspace: str) -> Process | None:
        """The server that runs; one that an earlier control plane started is taken over."""
        known = self._running.get(workspace)
        if known is not None:
            return known
        found = await self._in_thread(partial(processes.find, self._places.of(workspace).state))
        if found is not None:
            self._keep(workspace, found)
        return found

    def _keep(self, workspace: str, process: Process) -> None:
        self._running[workspace] = process
        self._nursery.start_soon(self._watch, workspace, process)

    async def _watch(self, workspace: str, process: Process) -> None:
        await process.watch()
        if self._running.get(workspace) is process:
            del self._running[workspace]
        if not process.is_ending:
            self._tell.send_nowait(workspace)

    async def _end(self, workspace: str, process: Process, *, seconds: float | None = None) -> None:
        in_order = await process.end(self._limits.stop_seconds if seconds is None else seconds)
        self._running.pop(workspace, None)
        if in_order:
            await self._in_thread(self._places.of(workspace).forget_server)

    async def _end_remains(self, workspace: str) -> None:
        """Ends what a server that did not end in good order left running: the next one would, but
        none may come. It knows where they are, so one is started that does only this.
        """
        place = self._places.of(workspace)
        if not await self._in_thread(lambda: place.has_remains):
            return
        process = await self._in_thread(partial(_start, ["--end-leftovers"], place))
        self._nursery.start_soon(process.watch)
        with trio.move_on_after(self._limits.start_seconds):
            await process.ended.wait()
        if not await process.end(0):
            why = await self._last_words(workspace, process)
            raise Failure("unavailable", f"what {workspace} ran could not be ended: {why}")
        await self._in_thread(place.forget_server)

    async def _spawn(self, plan: Plan) -> None:
        place = self._places.of(plan.id)
        await self._in_thread(partial(place.write_token, plan.token))
        if self._is_ending:
            raise Failure("unavailable", "the control plane is ending; ask again when it is back")
        under_way = trio.Event()
        self._starts.add(under_way)
        try:
            process = await self._in_thread(partial(_start, _serving(plan, place), place))
            self._keep(plan.id, process)
        finally:
            self._starts.discard(under_way)
            under_way.set()
        await self._await_start(plan, process)

    async def _await_start(self, plan: Plan, process: Process) -> None:
        with trio.move_on_after(self._limits.start_seconds):
            while not process.ended.is_set():
                if await self._is_serving(plan, process):
                    return
                await trio.sleep(_POLL_SECONDS)
        if not process.ended.is_set():
            await self._end(plan.id, process)
        why = await self._last_words(plan.id, process)
        raise Failure("unavailable", f"the server of {plan.id} did not start: {why}")

    async def _last_words(self, workspace: str, process: Process) -> str:
        words = partial(self._places.of(workspace).last_line, after=process.said_from)
        return await self._in_thread(words)

    async def _takes_token(self, plan: Plan, process: Process) -> bool:
        """Whether the server that runs has the plan's token, or takes it now."""
        if await self._is_serving(plan, process):
            return True
        await self._in_thread(partial(self._places.of(plan.id).write_token, plan.token))
        signalled = False
        with trio.move_on_after(self._limits.reload_seconds):
            while not process.ended.is_set():
                if self._is_ready(plan, process):
                    # Before its listeners stand the signal would end it.
                    if not signalled:
                        process.signal(signal.SIGHUP)
                        signalled = True
                    if await self._reach.accepts(plan):
                        return True
                await trio.sleep(_POLL_SECONDS)
        return False

    async def _is_serving(self, plan: Plan, process: Process) -> bool:
        # Nobody but our own process is shown the token.
        return self._is_ready(plan, process) and await self._reach.accepts(plan)

    def _is_ready(self, plan: Plan, process: Process) -> bool:
        return self._places.of(plan.id).instance(process.pid) is not None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self._threads)
        except OSError as error:
            where = "" if error.filename is None else f": {error.filename}"
            raise Failure("unavailable", f"{error.strerror or error}{where}") from error

    async def end_all(self) -> None:
        """Ends every server that runs, at once; what is on record stays, nothing starts anew."""
        self._is_ending = True
        for one in tuple(self._starts):
            await one.wait()
        async with trio.open_nursery() as nursery:
            for workspace, process in tuple(self._running.items()):
                nursery.start_soon(self._end_whole, workspace, process)

    async def _end_whole(self, workspace: str, process: Process) -> None:
        await self._end(workspace, process, seconds=min(self._limits.stop_seconds, _ALL_SECONDS))
        try:
            await self._end_remains(workspace)
        except Failure as failure:
            _log.warning("%s", failure.message)

    async def aclose(self) -> None:
        """Lets go of everything; the servers run on."""
        await self._reach.aclose()


@asynccontextmanager
async def open_process_driver(
    root: Path, network: IPv4Network, limits: ControlLimits
) -> AsyncIterator[ProcessDriver]:
    """The driver, and the tasks that watch its processes."""
    async with trio.open_nursery() as nursery:
        driver = ProcessDriver(root, network, limits, nursery)
        nursery.start_soon(driver.empty_trash)
        nursery.start_soon(driver.trim_logs)
        try:
            yield driver
        finally:
            with trio.CancelScope(shield=True):
                await driver.aclose()
            nursery.cancel_scope.cancel()


def _serving(plan: Plan, place: Place) -> list[str]:
    return [
        f"--host={plan.ip}",
        f"--port={plan.port}",
        f"--ready-file={place.ready_file}",
        f"--ripgrep-dir={place.programs}",
    ]


def _start(options: list[str], place: Place) -> Process:
    """Starts a server of the place; blocks. Raises OSError."""
    command = [
        *(sys.executable, "-m", "hutch.cli", "serve"),
        f"--token-file={place.token_file}",
        processes.state_option(place.state),
        f"--cwd={place.home}",
        *options,
    ]
    return processes.spawn(
        command, cwd=place.home, environment=_environment(place.home), log=place.log
    )


def _environment(home: Path) -> dict[str, str]:
    names = (*_PASSED, *_PASSED_TOO, *_PROXIES, *(one.upper() for one in _PROXIES))
    passed = {name: os.environ[name] for name in names if name in os.environ}
    return {**passed, "HOME": str(home)}

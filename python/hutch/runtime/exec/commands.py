"""The service that runs commands.

Belongs here: what each endpoint asks for, in one sentence each, and the nursery that every
command lives in: it outlives the request, the connection and the client. Banned here: HTTP,
SSE, how a process is started or watched.
Source: wire contract, section 4.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio

from hutch.runtime.exec import revival
from hutch.runtime.exec.journal import Journal
from hutch.runtime.exec.launch import Started, launch
from hutch.runtime.exec.output import Output
from hutch.runtime.exec.registry import NEVER, Registry
from hutch.runtime.exec.stdin import Stdin
from hutch.runtime.exec.supervise import Orders, Supervision
from hutch.runtime.exec.task import Task, shown, signal_name, signal_number
from hutch.runtime.lanes import Lane
from hutch.runtime.processes.cgroups import Cgroup, Cgroups, wait_empty
from hutch.runtime.processes.tree import Tree
from hutch.wire.config import Config
from hutch.wire.errors import Failure
from hutch.wire.exec import ExecBody, check_body, fingerprint

_DISK: Final = 8
# A finished task's output goes to the disk where it is more than this.
_SMALL: Final = 4096
_LAST_SECONDS: Final = 1.5
_DELETE_SECONDS: Final = 2.0


class Commands:
    """Every command, from `run` to `forget`."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        cgroups: Cgroups | None,
        nursery: trio.Nursery,
    ) -> None:
        self._config = config
        self.limits = config.limits
        self._registry = registry
        self._cgroups = cgroups
        self._nursery = nursery
        # One for each that may be starting: a mount that hangs holds up nobody else.
        self._starts = Lane(config.limits.exec_tasks)
        self._disk = Lane(_DISK)
        self._signals = Lane(_DISK)
        self._spools = config.state_dir / "tasks"
        # Of tasks that have ended, those whose processes perhaps have not.
        self._left: dict[str, Tree] = {}
        self._is_closing = False
        self._has_ended = False

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What `/runtime` tells of commands."""
        names = ("exec", "exec.stream", "exec.idempotency")
        return names if self._cgroups is None else (*names, "exec.cgroup")

    def uses(self) -> dict[str, float]:
        """How much of its bounds is in use, by the names of `Limits`."""
        return self._registry.uses()

    # --- running ------------------------------------------------------------------------------

    async def run(self, asked: ExecBody, key: str | None, *, pipe: bool) -> Task:
        """The task of a request, started, or found where the request has been made before.

        `pipe` says what standard input is where the request does not. Raises `Failure`:
        bad_request, conflict, rate_limited, internal (500) where it cannot be started.
        """
        check_body(asked)
        body = fingerprint(asked)
        known = self._registry.find(key=key, identifier=asked.id, fingerprint=body)
        if known is not None:
            await known.ready.wait()
            if known.failure is not None:
                raise known.failure
            return known
        if self._is_closing:
            raise Failure("unavailable", "the server is ending")
        task = self._new(asked, key, body)
        self._registry.begin(task)
        await self._start(task, asked, pipe=pipe)
        return task

    def _new(self, asked: ExecBody, key: str | None, body: str) -> Task:
        uid = secrets.token_hex(8)
        words = asked.words
        command, is_cut = shown([words] if isinstance(words, str) else words)
        ttl = asked.ttl_seconds or round(self.limits.exec_ttl_seconds)
        return Task(
            uid=uid,
            id=asked.id or uid[:12],
            command=command,
            is_command_cut=is_cut,
            fingerprint=body,
            key=key,
            ttl_seconds=NEVER if asked.ttl_seconds == NEVER else ttl,
            stdout=self._output(uid, "stdout", keep=asked.keep_logs),
            stderr=self._output(uid, "stderr", keep=asked.keep_logs),
        )

    def _output(self, uid: str, name: str, *, keep: bool) -> Output:
        limits = self.limits
        return Output(
            f"{self._spools}/{uid}/{name}",
            self._disk,
            memory=limits.exec_memory_bytes,
            ring=None if keep else limits.exec_answer_bytes,
        )

    async def _start(self, task: Task, asked: ExecBody, *, pipe: bool) -> None:
        directory = asked.cwd or os.fsencode(self._config.cwd)
        is_open = pipe if asked.open_stdin is None else asked.open_stdin
        given = (asked.stdin or "").encode()
        wants_pipe = is_open or asked.stdin is not None
        # Shielded: what was started must be looked after, whoever has gone.
        with trio.CancelScope(shield=True):
            try:
                started = await self._starts.run(
                    partial(launch, asked, directory, self._cgroups, pipe=wants_pipe)
                )
            except Failure as failure:
                task.failure = failure
                self._registry.release(task)
                task.ready.set()
                task.ended.set()
                raise
        orders = Orders(asked.timeout_seconds, given, close_stdin=wants_pipe and not is_open)
        self._take_over(task, started, orders)
        self._nursery.start_soon(self._supervise, task, started, orders)

    def _take_over(self, task: Task, started: Started, orders: Orders) -> None:
        task.mode = started.found.mode
        task.pid = started.process.pid
        task.process = started.process
        task.tree = started.tree
        if started.stdin is not None:
            task.stdin = Stdin(started.stdin, has_first=orders.has_first)
        task.status = "running"
        task.started = time.time()
        self._registry.started(task)
        task.ready.set()

    async def _supervise(self, task: Task, started: Started, orders: Orders) -> None:
        supervision = Supervision(task, started, self.limits, self._disk)
        await supervision.run(orders, partial(self._ended, task, started.tree))
        # Nobody holds its pipes; without a cgroup somebody may be left all the same.
        if started.tree.cgroup is not None or not await self._signals.run(started.tree.is_left):
            self._left.pop(task.uid, None)

    def _ended(self, task: Task, tree: Tree) -> None:
        self._left[task.uid] = tree
        self._registry.finished(task)
        task.ended.set()
        task.tell()
        if task.stdout.kept + task.stderr.kept > _SMALL:
            self._nursery.start_soon(self._settle, task)

    async def _settle(self, task: Task) -> None:
        """Takes a finished task's output out of memory, and cuts it to what may be kept."""
        await task.stdout.spill()
        await task.stderr.spill()
        if self._registry.oversized(task):
            most = self.limits.exec_finished_bytes
            task.output_dropped = True
            errors = min(task.stderr.kept, most // 2)
            await task.stderr.trim(errors)
            await task.stdout.trim(most - errors)

    # --- looking and changing -----------------------------------------------------------------

    def get(self, identifier: str) -> Task:
        """The task of an id. Raises `Failure` (not_found)."""
        return self._registry.get(identifier)

    def all(self) -> list[Task]:
        """Every task, the oldest first."""
        return self._registry.all()

    async def delete(self, task: Task) -> None:
        """SIGKILL to the whole tree, and forgets the task once its leader has ended.

        Raises `Failure` (conflict) for one that hangs while it is started.
        """
        with trio.move_on_after(_DELETE_SECONDS):
            await task.ready.wait()
        if not task.ready.is_set():
            raise Failure("conflict", f"task {task.id} is still being started")
        tree = task.tree
        if tree is not None and (task.uid in self._left or not task.ended.is_set()):
            await self._signals.run(tree.kill)
        with trio.move_on_after(_DELETE_SECONDS):
            await task.ended.wait()
        self._registry.forget(task)

    async def delete_all(self) -> int:
        """Deletes every task; how many were deleted."""
        tasks = self._registry.all()
        async with trio.open_nursery() as nursery:
            for one in tasks:
                nursery.start_soon(self._delete_if_possible, one)
        return sum(one.is_forgotten for one in tasks)

    async def _delete_if_possible(self, task: Task) -> None:
        with suppress(Failure):
            await self.delete(task)

    async def write(self, task: Task, data: bytes, *, eof: bool) -> int:
        """Writes to the task's standard input; how many bytes.

        Raises `Failure`: conflict where it has ended or has no pipe, timeout where it takes
        nothing.
        """
        await task.ready.wait()
        if task.ended.is_set():
            raise Failure("conflict", f"task {task.id} has ended")
        if task.stdin is None or task.stdin.is_closed:
            raise Failure("conflict", f"task {task.id} has no open standard input")
        return await task.stdin.write(data, idle_seconds=self.limits.exec_input_seconds, eof=eof)

    async def signal(self, task: Task, given: str | int) -> str:
        """Sends a signal to the command's process group; its name.

        Raises `Failure`: bad_request for what is no signal, conflict for a task that has ended.
        """
        number = signal_number(given)
        await task.ready.wait()
        if task.tree is None or task.process is None:
            raise Failure("conflict", f"task {task.id} has ended")
        task.tree.send_group(number)
        return signal_name(number)

    # --- ending -------------------------------------------------------------------------------

    async def end(self) -> None:
        """Ends every command, and what earlier ones left: SIGTERM, then SIGKILL.

        Nothing is started any more. Returns when the tasks have ended, or cannot be.
        """
        if self._has_ended:
            return
        # Before anything is waited for; but a call that was cancelled half-way has ended nothing.
        self._is_closing = True
        await self._signals.run(partial(self._send_all, signal.SIGTERM))
        with trio.move_on_after(self.limits.exec_stop_seconds):
            for task in self._registry.running():
                await task.ended.wait()
            await self._until_empty()
        await self._signals.run(self._kill_all)
        with trio.move_on_after(_LAST_SECONDS):
            for task in self._registry.running():
                await task.ended.wait()
        self._has_ended = True

    def _trees(self) -> list[Tree]:
        running = [one.tree for one in self._registry.running() if one.tree is not None]
        return [*running, *self._left.values()]

    def _send_all(self, number: int) -> None:
        for tree in self._trees():
            tree.send(number)

    def _kill_all(self) -> None:
        for tree in self._trees():
            tree.kill()
        if self._cgroups is not None:
            self._cgroups.kill_all()

    async def _until_empty(self) -> None:
        if self._cgroups is None:
            return
        group = Cgroup(self._cgroups.root)
        await self._signals.run(partial(wait_empty, group, self.limits.exec_stop_seconds))

    async def expire(self) -> None:
        """Forgets tasks as their time comes, for ever."""
        while True:
            self._registry.expire()
            with trio.move_on_at(self._registry.next_expiry()):
                await self._registry.earlier.wait()
            self._registry.earlier = trio.Event()


@asynccontextmanager
async def open_commands(config: Config, cgroups: Cgroups | None) -> AsyncIterator[Commands]:
    """The service, with what an earlier instance left ended and told of.

    Raises OSError where the state directory cannot be written.
    """
    state_dir = config.state_dir
    _remove_spools(state_dir / "tasks")
    journal = Journal(state_dir / "exec-journal")
    registry = Registry(journal, config.limits)
    await trio.to_thread.run_sync(revival.end_leftovers, journal.read())
    registry.restore(*revival.revive(journal.read()))
    try:
        async with trio.open_nursery() as nursery:
            commands = Commands(config, registry, cgroups, nursery)
            nursery.start_soon(commands.expire)
            try:
                yield commands
            finally:
                with trio.CancelScope(shield=True):
                    await commands.end()
                nursery.cancel_scope.cancel()
    finally:
        journal.close()
        _remove_spools(state_dir / "tasks")


def _remove_spools(path: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(path)

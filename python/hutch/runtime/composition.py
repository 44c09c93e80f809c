"""The runtime, composed: every service and its nursery, opened and closed in order.

Belongs here: `Runtime` and `open_runtime`, the one place where services meet. Banned here:
what a service does.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hutch import _native
from hutch.runtime import system
from hutch.runtime.archive import Archives
from hutch.runtime.bounds import bounds
from hutch.runtime.chmod import Chmods
from hutch.runtime.copy import Copies
from hutch.runtime.exec.commands import Commands, open_commands
from hutch.runtime.find import Finds
from hutch.runtime.installation import Installations
from hutch.runtime.mkdir import Mkdirs
from hutch.runtime.ports import Ports
from hutch.runtime.preconditions import Locks
from hutch.runtime.processes.remains import holding_cgroups
from hutch.runtime.raw import Raws
from hutch.runtime.read import Reads
from hutch.runtime.remove import Removals
from hutch.runtime.ripgrep import Ripgreps
from hutch.runtime.search import Searches
from hutch.runtime.stat import Stats
from hutch.runtime.terminals.service import Terminals, open_terminals
from hutch.runtime.walk import Walks
from hutch.runtime.watchers.watchers import Watchers, open_watchers
from hutch.runtime.write import Writes
from hutch.server.figures import RequestFigures
from hutch.state import hold_state_dir
from hutch.wire.config import Config
from hutch.wire.limits import Bound
from hutch.wire.system import RuntimeInfo


@dataclass(frozen=True, slots=True)
class Runtime:
    """Every service of a running runtime. `instance` changes with each start."""

    config: Config
    instance: str
    info: RuntimeInfo
    walks: Walks
    reads: Reads
    raws: Raws
    stats: Stats
    writes: Writes
    mkdirs: Mkdirs
    removals: Removals
    archives: Archives
    copies: Copies
    chmods: Chmods
    searches: Searches
    finds: Finds
    installations: Installations
    ports: Ports
    commands: Commands
    terminals: Terminals
    watchers: Watchers
    figures: RequestFigures

    def bounds(self) -> dict[str, Bound]:
        """Every bound by its name, with its present use."""
        counting = (self.searches, self.commands, self.terminals, self.watchers)
        return bounds(self.config.limits, counting, self.figures)


@asynccontextmanager
async def open_runtime(config: Config) -> AsyncIterator[Runtime]:
    """The runtime with its services under way.

    Raises `Failure` (conflict) where another server holds the state directory.
    """
    with hold_state_dir(config.state_dir):
        pending = _native.Pending(os.fsencode(config.state_dir / "pending"))
        locks = Locks()
        ripgreps = Ripgreps(config)
        try:
            async with (
                holding_cgroups(config.state_dir) as cgroups,
                open_commands(config, cgroups) as commands,
                open_terminals(config, cgroups) as terminals,
                open_watchers(config.limits) as watchers,
            ):
                runtime = Runtime(
                    config=config,
                    instance=secrets.token_hex(8),
                    info=system.runtime_info(commands.capabilities),
                    walks=Walks(config.limits),
                    reads=Reads(config.limits),
                    raws=Raws(),
                    stats=Stats(),
                    writes=Writes(config.limits, pending, locks),
                    mkdirs=Mkdirs(),
                    removals=Removals(config.limits, config.state_dir, locks),
                    copies=Copies(config.limits, config.state_dir, pending, locks),
                    chmods=Chmods(config.limits, config.state_dir, locks),
                    archives=Archives(config.limits, config.state_dir, pending),
                    commands=commands,
                    terminals=terminals,
                    watchers=watchers,
                    searches=Searches(config.limits, ripgreps),
                    finds=Finds(),
                    installations=Installations(config, ripgreps, pending),
                    ports=Ports(config.limits),
                    figures=RequestFigures(),
                )
                _show(runtime)
                yield runtime
        finally:
            _native.pool_close()


def _show(runtime: Runtime) -> None:
    """What is told at `/metrics` of the services, asked for whenever it is read."""
    figures, totals = runtime.figures, runtime.walks.totals
    for name, text, value in (
        ("tasks", "Commands that run", lambda: runtime.commands.uses()["exec_tasks"]),
        ("terminals", "Terminals that are live", lambda: runtime.terminals.uses()["terminals"]),
        ("watchers", "Watchers", lambda: runtime.watchers.uses()["watchers"]),
        ("walks", "Listings under way", lambda: len(totals.under_way)),
    ):
        figures.gauge(name, text, value)
    figures.total("walk_entries", "Entries that listings saw", lambda: totals.counts()[0])
    figures.total("walk_bytes", "Bytes that listings sent", lambda: totals.counts()[1])
    figures.family(
        "limit",
        "Every bound, as /limits tells it",
        "limit",
        lambda: {name: one.limit for name, one in runtime.bounds().items()},
    )
    figures.family(
        "limit_used",
        "How much of a bound is in use",
        "limit",
        lambda: {n: one.used for n, one in runtime.bounds().items() if one.used is not None},
    )

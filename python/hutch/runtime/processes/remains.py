"""What is left of a tree whose leader has ended.

Belongs here: waiting for the last of a group, and for the last of all groups. Banned here:
ending anybody. Nothing polls, unless descriptors are out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from hutch.runtime.processes.cgroups import Cgroup, Cgroups, Watch, open_cgroups, wait_empty

_LAST_SECONDS: Final = 1.5
_AGAIN_SECONDS: Final = 1.0


@asynccontextmanager
async def holding_cgroups(state_dir: Path) -> AsyncIterator[Cgroups | None]:
    """The groups of everything that runs; None where none can be made.

    What an earlier instance left in them has then been ended.
    """
    cgroups = await trio.to_thread.run_sync(open_cgroups, state_dir)
    try:
        yield cgroups
    finally:
        if cgroups is not None:
            wait_empty(Cgroup(cgroups.root), _LAST_SECONDS)
            cgroups.close()


async def outlive(group: Cgroup) -> None:
    """Removes a group once its last process has ended."""
    if group.remove():
        return
    watch = await _watch(group)
    if watch is None:
        return
    try:
        while watch.is_populated():
            await trio.lowlevel.wait_readable(watch.fileno())
    finally:
        trio.lowlevel.notify_closing(watch.fileno())
        watch.close()
    group.remove()


async def _watch(group: Cgroup) -> Watch | None:
    """What tells of its last process, once there are descriptors for it; None where it is gone."""
    while True:
        try:
            return Watch(group)
        except FileNotFoundError:
            return None
        except OSError:
            await trio.sleep(_AGAIN_SECONDS)

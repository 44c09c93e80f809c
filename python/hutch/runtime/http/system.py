"""What the runtime says about itself: `/health`, `/runtime`, `/runtimes`, `/desktop/status`.

Source: wire contract, section 1.
"""

from __future__ import annotations

import msgspec

from hutch.routing.table import Call, Route
from hutch.runtime.composition import Runtime
from hutch.wire.system import DesktopStatus, Health, RuntimeAnswer, Target, Targets


async def health(_runtime: Runtime, _call: Call[None]) -> Health:
    """Says that the server answers, and nothing else."""
    return Health()


async def runtime_facts(runtime: Runtime, _call: Call[None]) -> RuntimeAnswer:
    """Says what this runtime is."""
    return RuntimeAnswer(**msgspec.structs.asdict(runtime.info))


async def targets(runtime: Runtime, _call: Call[None]) -> Targets:
    """Says which runtimes there are: this one."""
    return Targets(targets=[Target(id="local", local=True, available=True, runtime=runtime.info)])


async def desktop(_runtime: Runtime, _call: Call[None]) -> DesktopStatus:
    """Says that there is no desktop."""
    return DesktopStatus()


ROUTES = (
    Route(
        method="GET",
        path="/health",
        kind="json",
        handler=health,
        summary="Is the server there",
        answer=Health,
        is_open=True,
    ),
    Route(
        method="GET",
        path="/runtime",
        kind="json",
        handler=runtime_facts,
        summary="What this runtime is and can do",
        answer=RuntimeAnswer,
    ),
    Route(
        method="GET",
        path="/runtimes",
        kind="json",
        handler=targets,
        summary="The runtimes that requests can be addressed to",
        answer=Targets,
    ),
    Route(
        method="GET",
        path="/desktop/status",
        kind="json",
        handler=desktop,
        summary="Whether there is a desktop",
        answer=DesktopStatus,
    ),
)

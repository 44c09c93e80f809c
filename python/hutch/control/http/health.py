"""The row that is open to all: whether the control plane answers."""

from __future__ import annotations

from hutch.control.composition import Control
from hutch.routing.table import Call, Route
from hutch.wire.system import Health


async def health(_control: Control, _call: Call[None]) -> Health:
    """Says that the server answers, and nothing else."""
    return Health()


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
)

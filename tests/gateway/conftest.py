"""Fixtures: a control plane that can misbehave, and gateways in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from tests.gateway.gates import Gate, Gates
from tests.gateway.plane import Plane, planning
from tests.server.site import Site


@pytest.fixture
def plane() -> Iterator[Plane]:
    with planning() as one:
        yield one


@pytest.fixture
async def gates(nursery: trio.Nursery, plane: Plane) -> AsyncIterator[Gates]:
    site = Site(nursery)
    made = Gates(nursery, site, plane)
    yield made
    await made.close()
    await site.close()


@pytest.fixture
async def gate(gates: Gates) -> Gate:
    return await gates.open()

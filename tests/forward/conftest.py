"""A server that passes everything on to an upstream of the test's own, in the test's Trio run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.forward.upstreams import Relay
from tests.server.site import Site, still_descriptors


@pytest.fixture
async def relay(nursery: trio.Nursery) -> AsyncIterator[Relay]:
    """Every test proves, at its end, that no task and no descriptor is left."""
    async with still_descriptors():
        site = Site(nursery)
        one = Relay(site, nursery)
        yield one
        one.pool.close()
        await site.close()
        one.close()

"""A server on a port for one test's application, in the test's own Trio run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.server.site import Site, still_descriptors


@pytest.fixture
async def site(nursery: trio.Nursery) -> AsyncIterator[Site]:
    """Serves whatever application the test gives it.

    Every test proves, at its end, that no task and no descriptor of a connection is left.
    """
    async with still_descriptors():
        one = Site(nursery)
        yield one
        await one.close()

"""A server on a port for one test's application, in the test's own Trio run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.server.site import Site


@pytest.fixture
async def site(nursery: trio.Nursery) -> AsyncIterator[Site]:
    """Serves whatever application the test gives it; ends every server at the end.

    That it ends at all proves that no task of a connection is left.
    """
    one = Site(nursery)
    yield one
    await one.close()

"""Fixtures of the whole suite: a server on a port, a client, trees to list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client
from tests.serving import Target, serving


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server that most tests share."""
    with serving(tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture(scope="session")
def client(target: Target) -> Iterator[Client]:
    with target.client() as one:
        yield one


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty directory outside any repository."""
    place = tmp_path / "tree"
    place.mkdir()
    return place

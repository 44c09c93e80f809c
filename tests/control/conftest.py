"""Fixtures: one control plane for the files here, with two clients and a workspace that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Json
from tests.controlling import Account, Controlled, controlling


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    """The control plane that the tests of a file share."""
    with controlling(tmp_path_factory.mktemp("control")) as one:
        yield one


@pytest.fixture(scope="module")
def account(plane: Controlled) -> Iterator[Account]:
    with plane.account() as one:
        yield one


@pytest.fixture(scope="module")
def stranger(plane: Controlled) -> Iterator[Account]:
    """Another client."""
    with plane.account() as one:
        yield one


@pytest.fixture
def workspace(account: Account) -> Json:
    """A workspace of its own, without a server: cheap."""
    return account.create()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a control plane of a test's own keeps its things."""
    return tmp_path / "control"

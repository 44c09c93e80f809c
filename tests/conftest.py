"""Fixtures of the whole suite: a server on a port, a client, trees to list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client
from tests.gateway.through import through_gateway
from tests.serving import Target, serving


@pytest.fixture(scope="session")
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """The server that most tests share; with `--through-gateway` as a gateway shows it."""
    with serving(tmp_path_factory.mktemp("server")) as one:
        if not request.config.option.through_gateway:
            yield one
            return
        with through_gateway(one, tmp_path_factory.mktemp("gateway")) as same:
            yield same


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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--through-gateway",
        action="store_true",
        help="put a gateway in front of the server that tests share (with -m wire)",
    )
    parser.addoption(
        "--strict-skips",
        action="store_true",
        help="fail where a test is skipped that is not in tests/allowed-skips.txt",
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in _unlisted_skips(terminalreporter) if config.option.strict_skips else ():
        terminalreporter.write_line(f"skipped, and not in tests/allowed-skips.txt: {line}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.option.strict_skips and reporter and _unlisted_skips(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unlisted_skips(reporter: pytest.TerminalReporter) -> list[str]:
    lines = (Path(__file__).parent / "allowed-skips.txt").read_text().splitlines()
    allowed = tuple(line.split()[0] for line in lines if line and not line.startswith("#"))
    found = [str(one.nodeid) for one in reporter.stats.get("skipped", ())]
    return [one for one in found if not one.startswith(allowed)]

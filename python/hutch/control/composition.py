"""The control plane, composed: every service, opened and closed in order.

Belongs here: `Control` and `open_control`, the one place where services meet. Banned here: what a
service does, sockets, options.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
from sqlalchemy import Connection

from hutch.control import signing
from hutch.control.access import Access
from hutch.control.drivers.process import ProcessDriver, open_process_driver
from hutch.control.gateways import Gateways
from hutch.control.logins import Logins
from hutch.control.networks import Networks
from hutch.control.registry import Registry
from hutch.control.signing import Signing
from hutch.control.store import changes, vaults
from hutch.control.store.engine import Store, microseconds, open_store
from hutch.control.upkeep import Upkeep
from hutch.control.vault import Vault, make_once, open_vault
from hutch.control.workspaces import Workspaces
from hutch.state import hold_state_dir, read_token
from hutch.wire.control.config import ControlConfig


class Credential:
    """What gateways show: a token in a file, made where there is none.

    Raises `Failure` (bad_request) for a file that holds no token; OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            make_once(path, secrets.token_hex(32))
        self.token = read_token(path)

    def reload(self) -> None:
        """Takes what is in the file now. Raises as at first; then the old one stays."""
        self.token = read_token(self._path)


@dataclass(frozen=True, slots=True)
class Control:
    """Every service of a running control plane. `instance` changes with each start."""

    config: ControlConfig
    instance: str
    credential: Credential
    store: Store
    logins: Logins
    workspaces: Workspaces
    access: Access
    networks: Networks
    gateways: Gateways
    driver: ProcessDriver

    async def end_workspaces(self) -> None:
        """Ends every workspace's server; the record stays, so the next start brings them back."""
        await self.driver.end_all()


@contextmanager
def open_records(config: ControlConfig) -> Iterator[tuple[Store, Vault]]:
    """The store with the vault that its secrets are under; what commands need, too.

    Blocks. Raises `Failure` where they don't fit together or cannot be opened.
    """
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = open_vault(config.key_file)
    store = open_store(config.database)
    try:
        store.write_now(partial(vaults.check, fingerprint=vault.fingerprint))
        store.write_now(signing.providing(vault))
        yield store, vault
    finally:
        store.close()


@asynccontextmanager
async def open_control(config: ControlConfig) -> AsyncIterator[Control]:
    """The control plane with its services under way; workspaces on record are seen to.

    Workspaces' servers run on when it closes (`end_workspaces` ends them). Raises `Failure`
    (conflict) where another one holds the state directory or the database.
    """
    with (
        hold_state_dir(config.state_dir),
        open_records(config) as (store, vault),
        store.holding(),
    ):
        store.write_now(_begin)
        store.write_now(signing.forgetting(config.limits))
        credential = Credential(config.internal_token_file)
        # One spelling, whatever the next start is given: servers are found by it.
        root, limits = config.state_dir.resolve() / "workspaces", config.limits
        async with (
            open_process_driver(root, config.network, limits) as driver,
            trio.open_nursery() as nursery,
        ):
            registry = Registry(store, vault, driver, limits, nursery)
            keys = Signing(store, vault, limits)
            nursery.start_soon(Upkeep(registry).run)
            yield Control(
                config=config,
                instance=secrets.token_hex(8),
                credential=credential,
                store=store,
                logins=Logins(vault, limits, time.monotonic),
                workspaces=Workspaces(registry),
                access=Access(registry, keys),
                networks=Networks(registry),
                gateways=Gateways(registry, keys),
                driver=driver,
            )
            nursery.cancel_scope.cancel()


def _begin(connection: Connection) -> None:
    changes.begin(connection, microseconds())

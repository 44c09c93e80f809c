"""Networks of workspaces: policy and private links.

Belongs here: seeing and changing them. Banned here: HTTP; who enforces what (the driver says).
Source: wire contract, section 9.
"""

from __future__ import annotations

from functools import partial

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from hutch.control import rules
from hutch.control.records import Record
from hutch.control.registry import Registry
from hutch.control.store import workspaces as stored
from hutch.wire.control.network import NetworkAnswer, PolicyBody, PrivateLink
from hutch.wire.errors import Failure
from hutch.wire.paths import shorten


class Networks:
    """The networks of all workspaces; each call is for one client."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def get(self, client_id: str, name: str) -> NetworkAnswer:
        """The network of a workspace."""
        return await self._shown(await self._registry.find(client_id, name))

    async def update(self, client_id: str, name: str, asked: PolicyBody) -> NetworkAnswer:
        """Changes what is given, all of it or nothing.

        Raises `Failure`: (unsupported) for a field that the driver cannot enforce, (not_found) for
        a link to a workspace that is not the client's, (bad_request) for one to itself.
        """
        record = await self._registry.run(partial(self._update, client_id, name, asked))
        linked = asked.private_link_ids is not UNSET and asked.private_link_ids != []
        return await self._shown(record, self._registry.driver.link_warnings if linked else ())

    async def _update(self, client_id: str, name: str, asked: PolicyBody) -> Record:
        async with self._registry.turn_of(client_id, name) as found:
            policy = rules.new_policy(found.policy, asked, self._registry.driver.enforces)
            also = None
            if asked.private_link_ids is not UNSET:
                wanted = rules.check_links(found, asked.private_link_ids)
                also = partial(_link, record=found, wanted=wanted)
            record = await self._registry.alter(found, also=also, policy=policy)
            if record.is_running:
                try:
                    await self._registry.apply_policy(record)
                except Failure as failure:
                    self._registry.unsettled(record, failure)
                    raise
            return record

    async def _shown(self, record: Record, warnings: tuple[str, ...] = ()) -> NetworkAnswer:
        peers = await self._registry.store.read(partial(stored.peers, identifier=record.id))
        return NetworkAnswer(
            ip=record.ip,
            gateway=self._registry.driver.gateway(record.ip),
            private_links=[PrivateLink(workspace_id=id_, ip=ip) for id_, ip in peers],
            warnings=list(warnings),
            **msgspec.structs.asdict(record.policy),
        )


def _link(connection: Connection, *, record: Record, wanted: tuple[str, ...]) -> None:
    """Links a workspace to the client's own. Raises `Failure` (not_found) for any other."""
    found = []
    for one in wanted:
        known = rules.may_exist(one)
        peer = stored.find(connection, record.client_id, one) if known else None
        if peer is None:
            raise Failure("not_found", f"private_link_ids: no such workspace: {shorten(one)}")
        found.append(peer.id)
    stored.link(connection, record.id, dict.fromkeys(found))

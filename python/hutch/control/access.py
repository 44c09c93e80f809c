"""Access to the server in a workspace: enabling, disabling, tokens.

Belongs here: what each of these does to the record and to the server, in that order. Banned here:
HTTP, keys (`signing`). Source: wire contract, section 9; reference, "Connection & Auth".
"""

from __future__ import annotations

from functools import partial

from hutch.control import rules
from hutch.control.records import Record
from hutch.control.registry import Registry
from hutch.control.signing import Signing
from hutch.wire.control.access import AccessStatus, AccessToken, RawToken
from hutch.wire.errors import Failure


class Access:
    """Who may reach servers; each call is for one client."""

    def __init__(self, registry: Registry, signing: Signing) -> None:
        self._registry = registry
        self._signing = signing

    async def status(self, client_id: str, name: str) -> AccessStatus:
        """What is asked for, and what is, asked now."""
        return await self._status(await self._registry.find(client_id, name))

    async def _status(self, record: Record) -> AccessStatus:
        plan = self._registry.plan(record)
        serving = plan.serving and (await self._registry.driver.health(plan)).serving
        return AccessStatus(enabled=record.enabled, running=serving, is_running=serving)

    async def enable(self, client_id: str, name: str) -> AccessToken:
        """Has the server run; a short token. One that runs is not restarted.

        Raises `Failure` (conflict) for a workspace that does not run, (unavailable) where the
        server cannot be started: then access is as it was.
        """
        return await self._registry.run(partial(self._enable, client_id, name))

    async def _enable(self, client_id: str, name: str) -> AccessToken:
        async with self._registry.turn_of(client_id, name) as found:
            if not found.is_running:
                raise Failure("conflict", f"{found.id} does not run; start it first")
            record = found if found.enabled else await self._registry.alter(found, enabled=True)
            try:
                await self._registry.bring_about(record)
            except Failure as failure:
                if found.enabled:
                    self._registry.unsettled(record, failure)
                else:
                    await self._registry.alter(record, enabled=False, voids_tokens=True)
                raise
            return await self._short(record)

    async def disable(self, client_id: str, name: str) -> AccessStatus:
        """Ends the server with all that it runs; every gateway token is void from here on."""
        return await self._registry.run(partial(self._disable, client_id, name))

    async def _disable(self, client_id: str, name: str) -> AccessStatus:
        async with self._registry.turn_of(client_id, name) as found:
            record = found
            if found.enabled:
                record = await self._registry.alter(found, enabled=False, voids_tokens=True)
            await self._registry.bring_about_or_later(record)
            return await self._status(record)

    async def token(self, client_id: str, name: str) -> AccessToken:
        """A short token; revokes nothing. Raises `Failure` (conflict) while disabled."""
        record = await self._registry.find(client_id, name)
        return await self._short(_require_enabled(record))

    async def long_token(self, client_id: str, name: str) -> AccessToken:
        """A token for the workspace's own use, of 30 days. Raises as `token` does."""
        record = _require_enabled(await self._registry.find(client_id, name))
        return await self._signing.issue(record, self._registry.limits.workspace_token_seconds)

    async def _short(self, record: Record) -> AccessToken:
        return await self._signing.issue(record, self._registry.limits.token_seconds)

    async def rotate(self, client_id: str, name: str) -> AccessToken:
        """Replaces the raw token and voids every gateway token; the server takes the new one
        without a restart.

        Raises `Failure` (conflict) while disabled, (unavailable) where the server has not taken
        the token yet: it is on record, and the server is brought to it.
        """
        return await self._registry.run(partial(self._rotate, client_id, name))

    async def _rotate(self, client_id: str, name: str) -> AccessToken:
        async with self._registry.turn_of(client_id, name) as found:
            _require_enabled(found)
            sealed = self._registry.seal(found.id, rules.new_token())
            record = await self._registry.alter(found, voids_tokens=True, sealed=sealed)
            try:
                await self._registry.bring_about_or_later(record)
            except Failure as failure:
                raise Failure(
                    "unavailable",
                    f"the token was replaced, and the server has not taken it yet: "
                    f"{failure.message}",
                ) from None
            return await self._short(record)

    async def raw(self, client_id: str, name: str) -> RawToken:
        """The raw token, and where to bring it."""
        record = await self._registry.find(client_id, name)
        return RawToken(token=self._registry.token(record), ip=record.ip, port=record.port)

    async def reconnect(self, client_id: str, name: str) -> AccessStatus:
        """Makes sure of the server: one that runs is taken over, one that should is started."""
        return await self._registry.run(partial(self._reconnect, client_id, name))

    async def _reconnect(self, client_id: str, name: str) -> AccessStatus:
        async with self._registry.turn_of(client_id, name) as found:
            return await self._status(await self._registry.bring_about_or_later(found))


def _require_enabled(record: Record) -> Record:
    if not record.enabled:
        raise Failure("conflict", f"access to {record.id} is disabled; enable it first")
    return record

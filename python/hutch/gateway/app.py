"""The application on the public port: every path of it belongs to a workspace.

Belongs here: the order of things for one request. Banned here: what each of them is.
Source: wire contract, section 10.
"""

from __future__ import annotations

from typing import Any, Final

from hutch.forward import Forwarder, Pool, Upstream
from hutch.gateway.admission import Admission, Pass
from hutch.gateway.keyring import Keyring
from hutch.gateway.metrics import Metrics
from hutch.gateway.passing import CredentialsRefused, Passing, peer
from hutch.gateway.plane import Route
from hutch.gateway.registry import Registry, objection
from hutch.routing.cors import Headers, Origins
from hutch.server.answers import respond_bytes, respond_failure
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure
from hutch.wire.gateway import GatewayConfig
from hutch.wire.system import local_path

_HEALTHY: Final = b'{"status":"ok"}'
_JSON: Final = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class Application:
    """The ASGI application; every failure on the way is answered here, once."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        admission: Admission,
        keyring: Keyring,
        registry: Registry,
        pool: Pool,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._admission = admission
        self._keyring = keyring
        self._registry = registry
        self._pool = pool
        self._metrics = metrics
        self._origins = Origins(config.allow_origins)
        self._forwarder = Forwarder(config.limits, kept=pool)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request or one socket, as ASGI has it."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        exchange = Exchange(scope, receive, send)
        allowed = self._origins.headers(scope)
        with self._metrics.counting(exchange) as counted:
            try:
                await self._answer(counted, allowed)
            except Failure as failure:
                await respond_failure(counted, _with(failure, allowed))

    async def _answer(self, exchange: Exchange, allowed: Headers) -> None:
        scope = exchange.scope
        preflight = self._origins.preflight(scope)
        if preflight is not None:
            headers = (*preflight, *allowed)
            await respond_bytes(exchange, status=204, headers=headers, body=b"")
            return
        try:
            passed = await self._admission.admit(scope)
        except Failure as failure:
            if failure.code != "unauthorized" or not _asks_health(scope):
                raise
            await respond_bytes(exchange, status=200, headers=(*_JSON, *allowed), body=_HEALTHY)
            return
        scope["state"]["authenticated"] = True
        scope["state"]["workspace"] = passed.route.workspace_id
        self._origins.check_socket(scope)
        try:
            await self._pass(exchange, passed, allowed)
        except CredentialsRefused:
            await self._admission.confirm(passed)
            raise

    async def _pass(self, exchange: Exchange, passed: Pass, allowed: Headers) -> None:
        scope, route = exchange.scope, passed.route
        edit = Passing(
            scope,
            passed,
            peer(scope, is_behind_proxy=self._config.behind_tls_proxy),
            is_ours=self._keyring.is_ours,
            cors=allowed,
        )
        with self._registry.holding(route, is_socket=scope["type"] == "websocket") as hold:
            await self._forwarder.carry(exchange, upstream(route), edit, ending=hold.ending)

    def hear(self, workspace_id: str, before: Route | None, now: Route | None) -> None:
        """A record is new: ends what it does not allow any more."""
        self._registry.review(workspace_id, now)
        if before is not None and before.address is not None and objection(before, now):
            self._pool.drop(upstream(before).key)


def upstream(route: Route) -> Upstream:
    """Where a workspace's requests go; what was dialled for one generation serves no other."""
    address = (route.address or "", route.port)
    key = (route.workspace_id, route.generation, *address)
    return Upstream(name="the workspace", addresses=(address,), key=key)


def _asks_health(scope: Any) -> bool:
    return scope.get("method") in {"GET", "HEAD"} and local_path(scope["path"]) == "/health"


def _with(failure: Failure, headers: Headers) -> Failure:
    if not headers:
        return failure
    return Failure(
        failure.code,
        failure.message,
        extra=failure.extra,
        headers=(*failure.headers, *headers),
    )


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

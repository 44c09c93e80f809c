"""The second listener: figures, keys, health, and the question that nginx asks.

Belongs here: these four. Banned here: everything on the public port. It listens on loopback unless
told otherwise: whoever reaches `/auth` with a token of the gateway gets the raw one for it.

`GET /auth` answers nginx's `auth_request` for a request that nginx itself will pass on: 204 with
`X-Hutch-Upstream` (address and port), `X-Hutch-Authorization` and `X-Hutch-Target` (what the
workspace is to get in place of the request's own), else the status of the refusal. The request's
target is expected in `X-Original-URI`, its `Upgrade` header in `X-Original-Upgrade`.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import msgspec

from hutch.forward import Head
from hutch.gateway.admission import Admission
from hutch.gateway.keyring import Keyring
from hutch.gateway.metrics import CONTENT_TYPE, Metrics
from hutch.gateway.passing import Passing, peer
from hutch.server.answers import NO_STORE, respond_bytes, respond_failure
from hutch.server.streaming import Exchange
from hutch.wire.errors import Failure

_JSON: Final = (b"content-type", b"application/json")


class Admin:
    """The ASGI application."""

    def __init__(self, *, admission: Admission, keyring: Keyring, metrics: Metrics) -> None:
        self._admission = admission
        self._keyring = keyring
        self._metrics = metrics
        self._answers = {
            "/health": self._health,
            "/metrics": self._figures,
            "/keys": self._keys,
            "/auth": self._auth,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, as ASGI has it."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        exchange = Exchange(scope, receive, send)
        try:
            await self._answer(exchange)
        except Failure as failure:
            await respond_failure(exchange, failure)

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        answer = self._answers.get(scope["path"])
        if answer is None or scope["type"] != "http":
            raise Failure("not_found", f"no such endpoint: {scope['path'][:200]}")
        # nginx asks with GET, whatever the method of the request that it asks about.
        if scope["method"] not in {"GET", "HEAD"}:
            allow = ((b"allow", b"GET, HEAD"),)
            raise Failure("method_not_allowed", "GET and HEAD work here", headers=allow)
        await answer(exchange)

    async def _health(self, exchange: Exchange) -> None:
        await _whole(exchange, _JSON, b'{"status":"ok"}')

    async def _figures(self, exchange: Exchange) -> None:
        await _whole(exchange, (b"content-type", CONTENT_TYPE), self._metrics.text())

    async def _keys(self, exchange: Exchange) -> None:
        await _whole(exchange, _JSON, msgspec.json.encode({"keys": self._keyring.jwks}))

    async def _auth(self, exchange: Exchange) -> None:
        asked = _asked_about(exchange.scope)
        passed = await self._admission.admit(asked)
        here = peer(asked, is_behind_proxy=True)
        edit = Passing(asked, passed, here, is_ours=self._keyring.is_ours, cors=())
        head = edit.request(Head(b"GET", asked["target"], []))
        raw = dict(head.headers)[b"Authorization"]
        address, port = passed.route.address or "", passed.route.port
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        headers = (
            (b"x-hutch-upstream", where.encode("ascii")),
            (b"x-hutch-authorization", raw),
            (b"x-hutch-target", head.target),
            NO_STORE,
        )
        await respond_bytes(exchange, status=204, headers=headers, body=b"")


def _asked_about(scope: Any) -> dict[str, Any]:
    """The scope of the request that nginx asks about."""
    found = dict(scope["headers"])
    target = found.get(b"x-original-uri", b"")
    if not target.startswith(b"/"):
        raise Failure("bad_request", "X-Original-URI: give the request's target")
    path, _, query = target.partition(b"?")
    is_socket = found.get(b"x-original-upgrade", b"").strip().lower() == b"websocket"
    return {
        **scope,
        "type": "websocket" if is_socket else "http",
        "path": unquote(path.decode("latin-1")),
        "query_string": query,
        "target": target,
    }


async def _whole(exchange: Exchange, kind: tuple[bytes, bytes], body: bytes) -> None:
    await respond_bytes(exchange, status=200, headers=(kind, NO_STORE), body=body)

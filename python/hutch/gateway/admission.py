"""Who may go where: from a request's token to the record of its workspace.

Belongs here: where a token stands in a request, what is checked, in which order, and what each
refusal is. Banned here: signatures (`keyring`), look-ups (`directory`), bytes.
Source: wire contract, sections 1 (token) and 10 (errors).

A refusal is never given from memory alone while the control plane can be asked: whoever was just
told that a token is good, or an access given, is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from hutch.gateway.directory import Directory
from hutch.gateway.keyring import Keyring
from hutch.gateway.plane import Route
from hutch.gateway.registry import NO_ACCESS
from hutch.tokens import Claims
from hutch.wire.errors import Failure
from hutch.wire.shapes import split_pair
from hutch.wire.system import local_path

Network = IPv4Network | IPv6Network

CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="hutch-gateway"'),)
# An application's own ones stand beside ours; each may cost a signature.
_MOST_PRESENTED: Final = 16


@dataclass(frozen=True, slots=True)
class Pass:
    """A request that was let in: where it goes, and the token that must not go with it."""

    route: Route
    token: bytes


class Admission:
    """Lets requests in."""

    def __init__(self, keyring: Keyring, directory: Directory, networks: Sequence[Network]) -> None:
        self._keyring = keyring
        self._directory = directory
        self._networks = tuple(networks)

    async def admit(self, scope: Any) -> Pass:
        """Raises `Failure`: unauthorized, forbidden, bad_gateway, unavailable."""
        token, claims = await self._verified(presented(scope))
        if not self._is_inside(claims.ip):
            raise _unauthorized("the token's address is none of a workspace")
        return Pass(await self._route(claims), token)

    async def _verified(self, tokens: Sequence[bytes]) -> tuple[bytes, Claims]:
        """The first token that is good by itself. Raises what was wrong with the last one."""
        refusal = _unauthorized("no token; send the header 'Authorization: Bearer <token>'")
        for token in tokens:
            try:
                return token, await self._keyring.verify(token)
            except Failure as failure:
                if failure.code != "unauthorized":
                    raise
                refusal = _unauthorized(failure.message)
        raise refusal

    async def _route(self, claims: Claims) -> Route:
        route = await self._directory.find(claims.sub)
        refusal = _refusal(claims, route)
        if refusal is not None:
            route = await self._look_again(claims, route, refusal)
            refusal = _refusal(claims, route)
        if refusal is not None:
            raise refusal
        assert route is not None  # noqa: S101  # for mypy: None is refused
        return route

    async def _look_again(
        self, claims: Claims, known: Route | None, refusal: Failure
    ) -> Route | None:
        """The record as it is now. Raises `refusal` where nobody can say, but for a token that is
        newer than what is known: that one may be good, so it raises unavailable.
        """
        try:
            return await self._directory.look_up(claims.sub)
        except Failure:
            if known is not None and claims.gen > known.generation:
                raise
            raise refusal from None

    async def confirm(self, passed: Pass) -> None:
        """Looks again, since the workspace refused the raw token. Raises `Failure` where the
        request would not be let in any more.
        """
        claims = await self._keyring.verify(passed.token)
        refusal = _refusal(claims, await self._directory.look_up(claims.sub))
        if refusal is not None:
            raise refusal

    def _is_inside(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in one for one in self._networks)


def _refusal(claims: Claims, route: Route | None) -> Failure | None:
    if route is None:
        return _unauthorized("the token's workspace is not there")
    if claims.gen != route.generation:
        return _unauthorized("the token was revoked; get a new one")
    if route.address is not None and (claims.ip, claims.port) != (route.address, route.port):
        return _unauthorized("the token's address is not that of its workspace")
    if not route.public_access:
        return Failure("forbidden", NO_ACCESS)
    if route.address is None or route.token is None or not (route.enabled and route.running):
        return Failure(
            "bad_gateway",
            f"the workspace's server is not {'running' if route.enabled else 'enabled'}; the "
            "request has not arrived there",
            extra={"may_have_arrived": False},
        )
    return None


def _unauthorized(sentence: str) -> Failure:
    return Failure("unauthorized", sentence, headers=CHALLENGE)


def presented(scope: Any) -> list[bytes]:
    """The tokens that a request brings: one, or on a WebSocket as many as its query has too.

    Behind `/proxy` an `Authorization` header, or a `token`, may be the application's own.
    """
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    tokens = [_bearer(found[0])] if len(found) == 1 else []
    if scope["type"] == "websocket" and (
        is_below(scope, "/proxy") or (not found and is_below(scope, "/ws"))
    ):
        tokens += query_tokens(scope["query_string"])
    return [one for one in tokens if one is not None][:_MOST_PRESENTED]


def _bearer(value: bytes) -> bytes | None:
    scheme, _, token = value.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


def query_tokens(query: bytes) -> list[bytes]:
    """The values of the parameter `token`, in any spelling."""
    return [value for name, value in map(split_pair, query.split(b"&")) if name == b"token"]


def is_below(scope: Any, place: str) -> bool:
    """Whether a request's path is that place, or lies below it."""
    path = local_path(scope["path"])
    return path == place or path.startswith(f"{place}/")

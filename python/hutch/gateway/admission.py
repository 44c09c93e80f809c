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
from urllib.parse import unquote_to_bytes

from hutch.gateway.directory import Directory
from hutch.gateway.keyring import Keyring
from hutch.gateway.plane import Route
from hutch.gateway.registry import NO_ACCESS
from hutch.tokens import Claims
from hutch.wire.errors import Failure

Network = IPv4Network | IPv6Network

CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="hutch-gateway"'),)
_QUERY_TOKEN_PREFIXES: Final = ("/ws", "/proxy")
_LOCAL: Final = "/runtimes/local/"


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
        token = presented(scope)
        if token is None:
            raise _unauthorized("no token; send the header 'Authorization: Bearer <token>'")
        try:
            claims = await self._keyring.verify(token)
        except Failure as failure:
            if failure.code == "unauthorized":
                raise _unauthorized(failure.message) from None
            raise
        if not self._is_inside(claims.ip):
            raise _unauthorized("the token's address is none of a workspace")
        return Pass(await self._route(claims), token)

    async def _route(self, claims: Claims) -> Route:
        route = await self._directory.find(claims.sub)
        refusal = _refusal(claims, route)
        if refusal is not None and self._directory.in_contact:
            route = await self._directory.look_up(claims.sub)
            refusal = _refusal(claims, route)
        if refusal is not None:
            raise refusal
        assert route is not None  # noqa: S101  # for mypy: None is refused
        return route

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


def presented(scope: Any) -> bytes | None:
    """The token that a request brings, or None; the header counts before the parameter."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if found:
        scheme, _, token = found[0].partition(b" ")
        return token.strip() if len(found) == 1 and scheme.lower() == b"bearer" else None
    return query_token(scope) if takes_query_token(scope) else None


def takes_query_token(scope: Any) -> bool:
    """Whether a `token` parameter counts: browsers cannot give a WebSocket headers."""
    if scope["type"] != "websocket":
        return False
    path = local_path(scope["path"])
    return any(path == one or path.startswith(f"{one}/") for one in _QUERY_TOKEN_PREFIXES)


def local_path(path: str) -> str:
    """The path without `/runtimes/local`, which leads to the same place."""
    while path.startswith(_LOCAL):
        path = path[len(_LOCAL) - 1 :]
    return path


def query_token(scope: Any) -> bytes | None:
    """The value of the parameter `token` in any spelling; of a doubled one the last."""
    found = None
    for pair in scope["query_string"].split(b"&"):
        name, value = split_pair(pair)
        if name == b"token":
            found = value
    return found


def split_pair(pair: bytes) -> tuple[bytes, bytes]:
    """Name and value of one parameter, decoded."""
    name, _, value = pair.partition(b"=")
    return _unquote(name), _unquote(value)


def _unquote(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text

"""The control plane as the gateway sees it: its internal listener, asked over HTTP.

Belongs here: the three questions, and what their answers are made of. Banned here: keeping any of
it (`directory`, `keyring`). Source: wire contract, section 9, the second listener.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
import trio
from msgspec import Meta, Struct

from hutch.tokens import Jwk

# How many questions at once: after a reset every workspace that is connected is asked for.
_WIDTH: Final = 16
_MOST_ANSWER: Final = 16 * 1024 * 1024

T = TypeVar("T")


class Route(Struct, frozen=True, kw_only=True):
    """What a gateway may know of one workspace: where it is, and who may reach it.

    `generation` is that of its valid tokens; `token` the raw one that its server takes.
    """

    workspace_id: str
    address: str | None
    port: Annotated[int, Meta(ge=1, le=65535)]
    token: str | None
    generation: int
    enabled: bool
    running: bool
    public_access: bool

    def __repr__(self) -> str:
        return f"Route({self.workspace_id!r})"


class Changes(Struct, frozen=True, kw_only=True):
    """Which workspaces changed up to `seq`; `reset` where that cannot be told."""

    seq: int
    workspaces: tuple[str, ...] = ()
    reset: bool = False


class _Keys(Struct, frozen=True):
    keys: tuple[Jwk, ...]


class PlaneAway(Exception):  # noqa: N818  # the house's word: it is away, and may come back
    """The control plane gave no good answer; the message says what happened instead."""


class Plane:
    """Asks. `credential` may be replaced under way."""

    def __init__(self, http: httpx2.AsyncClient, credential: str, *, seconds: float) -> None:
        self._http = http
        self._seconds = seconds
        self._limiter = trio.CapacityLimiter(_WIDTH)
        self.credential = credential

    async def route(self, workspace_id: str) -> Route | None:
        """The workspace's record, None where there is none. Raises `PlaneAway`."""
        found = await self._route(workspace_id)
        if found is None:
            return None
        route = _decoded(found, Route)
        if route.workspace_id != workspace_id:
            raise PlaneAway("/routes: another workspace than the one asked for")
        return route

    async def _route(self, workspace_id: str) -> bytes | None:
        path = f"/routes/{quote(workspace_id, safe='')}"
        # The queue counts too: where nobody answers it would be as long as there are workspaces.
        with trio.move_on_after(self._seconds):
            async with self._limiter:
                return await self._ask(path, {}, seconds=self._seconds)
        raise PlaneAway(f"/routes/: no answer within {self._seconds:g} s")

    async def changes(self, since: int | None, *, wait: float) -> Changes:
        """Waits for changes after `since`, at most `wait` seconds. Raises `PlaneAway`."""
        asked = {} if since is None else {"since": str(since), "wait": f"{wait:g}"}
        found = await self._ask("/changes", asked, seconds=self._seconds + wait)
        if found is None:
            raise PlaneAway("/changes: not found")
        return _decoded(found, Changes)

    async def keys(self) -> tuple[Jwk, ...]:
        """The keys that verify tokens just now. Raises `PlaneAway`."""
        found = await self._ask("/keys", {}, seconds=self._seconds)
        if found is None:
            raise PlaneAway("/keys: not found")
        return _decoded(found, _Keys).keys

    async def _ask(self, path: str, asked: dict[str, str], *, seconds: float) -> bytes | None:
        headers = {"Authorization": f"Bearer {self.credential}"}
        place = path.partition("/routes/")[1] or path
        with trio.move_on_after(seconds):
            try:
                answer = await self._http.get(path, params=asked, headers=headers)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise PlaneAway(f"{place}: {type(error).__name__} {error}".rstrip()) from None
            if answer.status_code == 404:  # noqa: PLR2004  # the one that means something
                return None
            if answer.status_code != 200 or len(answer.content) > _MOST_ANSWER:  # noqa: PLR2004
                raise PlaneAway(f"{place}: status {answer.status_code}")
            return answer.content
        raise PlaneAway(f"{place}: no answer within {seconds:g} s")


def _decoded(content: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlaneAway(f"an answer that is none: {error}") from None


@asynccontextmanager
async def open_plane(url: str, credential: str, *, seconds: float) -> AsyncIterator[Plane]:
    """A `Plane` with its connections, closed at the end."""
    options: dict[str, Any] = {"base_url": url, "follow_redirects": False, "trust_env": False}
    async with httpx2.AsyncClient(**options, timeout=None) as http:  # deadlines are `_ask`'s
        yield Plane(http, credential, seconds=seconds)

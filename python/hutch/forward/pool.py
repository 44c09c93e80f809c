"""Connections to upstreams that wait for their next request.

Belongs here: keeping them, within bounds, and giving them up. Banned here: dialling, HTTP. No
task watches them: an idle one is looked at when it is asked for, and the oldest give way. All
decisions are synchronous.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

import trio

from hutch.forward.link import Link
from hutch.wire.config import KeepLimits

_EACH: Final = 16


class Pool:
    """Idle connections by an opaque key: at most `upstream_kept`, and 16 a key."""

    def __init__(self, limits: KeepLimits) -> None:
        self._most = limits.upstream_kept
        self._seconds = limits.upstream_kept_seconds
        self._kept: dict[Hashable, list[Link]] = {}
        self._since: OrderedDict[Link, tuple[Hashable, float]] = OrderedDict()
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._since)

    @property
    def generation(self) -> int:
        """Grows with each drop: a connection taken before it is not to be given back."""
        return self._dropped

    def take(self, key: Hashable) -> Link | None:
        """The youngest connection that is still good, or None."""
        self._expire()
        links = self._kept.get(key, [])
        while links:
            link = links[-1]
            self._forget(link)
            if link.is_quiet():
                return link
            link.close()
        return None

    def give(self, key: Hashable, link: Link, *, generation: int) -> None:
        """Keeps a connection whose exchange is complete on both sides, or closes it."""
        self._expire()
        links = self._kept.setdefault(key, [])
        if generation != self._dropped or len(links) >= _EACH:
            link.close()
            if not links:
                del self._kept[key]
            return
        links.append(link)
        self._since[link] = (key, trio.current_time())
        if len(self._since) > self._most:
            self._close(next(iter(self._since)))

    def drop(self, key: Hashable) -> None:
        """Closes what is idle of a key; what is under way is not kept afterwards."""
        self._dropped += 1
        for link in tuple(self._kept.get(key, ())):
            self._close(link)

    def close(self) -> None:
        """Closes everything."""
        self._dropped += 1
        for link in tuple(self._since):
            self._close(link)

    def _expire(self) -> None:
        earliest = trio.current_time() - self._seconds
        while self._since:
            link, (_, since) = next(iter(self._since.items()))
            if since > earliest:
                return
            self._close(link)

    def _close(self, link: Link) -> None:
        self._forget(link)
        link.close()

    def _forget(self, link: Link) -> None:
        key, _ = self._since.pop(link)
        links = self._kept[key]
        links.remove(link)
        if not links:
            del self._kept[key]

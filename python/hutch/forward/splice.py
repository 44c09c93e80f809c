"""Bytes both ways, until either end is done.

Belongs here: splicing a client's tunnel with an upstream's connection, and ending it between two
frames. Banned here: reading frames. Messages have no limit, pings and extensions pass as they
are, silence is no fault: the two ends speak with each other, not with us.

A half close of either side is passed on as one; a reset of either cuts both. While one end takes
nothing, nothing is read of the other.
"""

from __future__ import annotations

from typing import Final

import trio

from hutch.forward.ending import Ending, Frames
from hutch.forward.failures import Broken
from hutch.forward.link import Link
from hutch.server.gone import ClientGone
from hutch.server.tunnel import Tunnel

_SERVICE_RESTART: Final = 1012
_FED_BYTES: Final = 32 * 1024
_FRAMES_A_TURN: Final = 1000
_LOOK_SECONDS: Final = 1.0


class Splice:
    """One WebSocket under way. Nothing escapes `run`: there is nobody left to be told."""

    def __init__(self, tunnel: Tunnel, link: Link, ending: Ending, *, seconds: float) -> None:
        self._tunnel = tunnel
        self._link = link
        self._ending = ending
        self._seconds = seconds
        self._frames = Frames()
        self._sending = trio.Lock()
        self._told = trio.Event()  # the client knows the end, or needs no telling
        self._is_broken = False
        self._heard_out = trio.Event()  # the client sends no more
        self._all = trio.CancelScope()

    async def run(self, rest: bytes) -> None:
        """Until both ends are done; `rest` is what came of the upstream after its 101."""
        self._link.be_patient()
        with self._all:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._at_shutdown)
                watching.start_soon(self._at_the_end)
                watching.start_soon(self._when_lost)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._up)
                    nursery.start_soon(self._down, rest)
                watching.cancel_scope.cancel()

    async def _up(self) -> None:
        try:
            while data := await self._tunnel.receive():
                await self._link.send([data], is_wanted=lambda: not self._tunnel.is_lost)
                # Where both ends are quick nothing else ever waits.
                await trio.lowlevel.checkpoint()
        except Broken:
            # Its last words may still lie in our socket: `_down` reads them, then cuts.
            self._is_broken = True
        except ClientGone:
            self._cut()
        else:
            if self._tunnel.is_lost:
                self._cut()
            self._link.end_sending()
            self._heard_out.set()

    async def _down(self, data: bytes) -> None:
        try:
            while True:
                if data:
                    await self._deliver(data)
                if self._told.is_set() or not (data := await self._link.receive()):
                    break
            if not self._is_broken and not self._told.is_set():
                self._told.set()
                await self._tunnel.end_sending()
                if self._frames.has_closed:
                    # The last word was said; who then does not leave is not waited for.
                    self._all.deadline = trio.current_time() + self._seconds
        except (Broken, ClientGone):
            self._cut()
        if self._is_broken:
            self._cut()

    async def _when_lost(self) -> None:
        """Cuts where a client that sends no more has gone altogether, and the upstream is silent.

        Nobody reads or sends then, and a socket at its end is readable all the time.
        """
        await self._heard_out.wait()
        while not self._tunnel.is_lost:  # noqa: ASYNC110  # nobody tells
            await trio.sleep(_LOOK_SECONDS)
        self._cut()

    async def _deliver(self, data: bytes) -> None:
        async with self._sending:
            whole = await self._follow(data)
            if self._ending.event.is_set() and whole:
                await self._tunnel.send([memoryview(data)[:whole]])
                await self._say_goodbye()
            else:
                await self._tunnel.send([data])

    async def _follow(self, data: bytes) -> int:
        """As `Frames.feed`; others get a turn where one read brings very many frames."""
        view, whole, seen = memoryview(data), 0, self._frames.count
        for start in range(0, len(data), _FED_BYTES):
            found = self._frames.feed(view[start : start + _FED_BYTES])
            whole = start + found if found else whole
            if self._frames.count - seen > _FRAMES_A_TURN:
                seen = self._frames.count
                await trio.lowlevel.checkpoint()
        return whole

    async def _say_goodbye(self) -> None:
        if not self._frames.has_closed:
            await self._tunnel.send([self._ending.frame])
        self._told.set()

    async def _at_shutdown(self) -> None:
        await self._tunnel.closing.wait()
        self._ending.end(_SERVICE_RESTART, "the server restarts")

    async def _at_the_end(self) -> None:
        """Tells the client at the next boundary of frames; cuts where none comes in time."""
        await self._ending.event.wait()
        with trio.move_on_after(self._seconds):
            try:
                async with self._sending:
                    if self._frames.is_between and not self._told.is_set():
                        await self._say_goodbye()
            except ClientGone:
                pass
            await self._told.wait()
        if not self._told.is_set():
            self._tunnel.reset()
        self._all.cancel()

    def _cut(self) -> None:
        self._tunnel.reset()
        self._link.reset()
        self._all.cancel()

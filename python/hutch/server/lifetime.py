"""What every process that serves has in common when it is told something, and when it ends.

Belongs here: what signals mean, the last resort after SIGTERM. Banned here: what is read again, and
what a process has to finish before it ends.
Source: wire contract, section 0: "SIGTERM ends within ten seconds, whatever clients do".
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import trio

from hutch.wire.config import ServerLimits
from hutch.wire.errors import Failure

# After the grace, and so that both stay within ten seconds.
_HANGING_SECONDS: Final = 3.0


async def obey_signals(
    signals: AsyncIterator[int],
    shutdown: trio.Event,
    reloads: Sequence[Callable[[], None]],
    warn: Callable[[str], None],
) -> None:
    """Fires `shutdown`, or at SIGHUP has each of `reloads` read its file again; for ever.

    What one raises as `Failure` is warned of: a bad file keeps no other from being read.
    """
    async for number in signals:
        if number != signal.SIGHUP:
            shutdown.set()
            continue
        for one in reloads:
            try:
                one()
            except Failure as failure:
                warn(f"SIGHUP: {failure.message}; what was in force stays")


async def end_anyway(
    shutdown: trio.Event, limits: ServerLimits, *, hanging: str, warn: Callable[[str], None]
) -> None:
    """Once `shutdown` has fired, ends the process (exit code 1) if its grace does not suffice.

    A thread that never returns, in a mount for which nobody answers or a database that is locked,
    would hold up the end for ever. Whoever waits for it was not told that it was done. To be
    cancelled when everything has ended; `hanging` says what it must have been.
    """
    await shutdown.wait()

    def end() -> None:
        warn(f"{hanging} hangs; the process ends without waiting for it")
        os._exit(1)

    last_resort = threading.Timer(limits.grace_seconds + _HANGING_SECONDS, end)
    last_resort.daemon = True
    last_resort.start()
    try:
        await trio.sleep_forever()
    finally:
        last_resort.cancel()

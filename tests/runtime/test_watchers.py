"""The service that watches directories, without a server.

Source: wire contract, section 6.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from hutch.runtime.watchers.listeners import Listeners
from hutch.runtime.watchers.watchers import open_watchers
from hutch.wire.config import Limits
from hutch.wire.watchers import WatchBody


async def test_a_watcher_is_made_while_a_storm_that_does_not_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listeners, "tell", lambda _self, _logs: True)
    async with open_watchers(Limits()) as watchers:
        with trio.fail_after(20):
            made = [await watchers.create(WatchBody(path=bytes(tmp_path))) for _ in range(3)]
            assert [one.id for one in watchers.all()] == [one.id for one in made]

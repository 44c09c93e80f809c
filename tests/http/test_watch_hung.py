"""A watcher whose tree has a mount in it that hangs: it waits, and nobody else.

The mount is FUSE with nobody behind it: the kernel's first question is never answered.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests import mounting
from tests.mounting import hung, threads_waiting
from tests.serving import serving
from tests.sockets import posting
from tests.watchers import watch
from tests.watching import wait_until

pytestmark = mounting.needs_fuse


def test_other_watchers_tell_on_and_the_server_ends(tmp_path: Path, tree: Path) -> None:
    fine = tmp_path / "fine"
    fine.mkdir()
    with hung(tree / "hung"), serving(tmp_path / "server", "--grace-seconds=0.1") as target:
        with target.client() as client:
            before = watch(client, path=str(fine))
            with posting(target, "/watchers", {"path": str(tree)}):
                wait_until(lambda: threads_waiting(target.pid) == 1)
                after = watch(client, path=str(fine))
                os.mknod(fine / "a")
                for one in (before, after):
                    assert one.ops(1) == {"a": "create"}
                # One that is not ready is not there yet.
                assert [one["id"] for one in client.json("/watchers")["watchers"]] == [
                    before.id,
                    after.id,
                ]
            # The client has left: nothing holds its place.
            made = [watch(client, path=str(fine)) for _ in range(3)]
            assert len(made) == 3
    # `serving` has stopped it by now, and raises where it did not end.

"""Changes on a mount that hangs hold up whoever asks for them, and nobody else.

Source: design, section 5, "special files".
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests import mounting
from tests.mounting import hung, threads_waiting
from tests.serving import Target, serving
from tests.watching import wait_until

from hutch import _native

pytestmark = mounting.needs_fuse

# As many as there are threads of each kind: writes, directories, copies, modes, removals.
WIDTHS = {
    "/files/write": 16, "/files/mkdir": 4, "/files/copy": 4, "/files/chmod": 4, "/files/delete": 4,
}  # fmt: skip


@contextmanager
def asking(target: Target, path: str, body: dict[str, str]) -> Iterator[None]:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n"
        f"Authorization: Bearer {target.token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", target.port)) as one:
        one.sendall(head.encode() + content)
        yield


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with serving(tmp_path / "server", "--grace-seconds=0.1") as one:
        yield one


def test_nobody_else_waits_and_the_server_ends(target: Target, tree: Path) -> None:
    with hung(tree / "hung") as place, target.client() as client, ExitStack() as stack:
        for path, width in WIDTHS.items():
            for number in range(width + 4):
                hanging = f"{place}/{path[7:]}{number}/x"
                asked = {"path": hanging, "content": "x", "mode": "0644"}
                asked |= {"source": hanging, "destination": f"{tree}/never"}
                stack.enter_context(asking(target, path, asked))
        wait_until(lambda: threads_waiting(target.pid) >= sum(WIDTHS.values()))
        wanted = {"write": 201, "mkdir": 201, "copy": 201, "chmod": 200, "delete": 200}
        for path, status in wanted.items():
            where = tree / ("a/file" if path == "write" else "a")
            body: dict[str, object] = {"path": str(where), "content": "x", "create_dirs": True}
            body |= {"source": str(where), "destination": f"{tree}/b", "mode": "0755"}
            answer = client.request("POST", f"/files/{path}", body=body)
            assert answer.status_code == status, answer.text
        os.kill(target.pid, 15)
        wait_until(lambda: not Path(f"/proc/{target.pid}/root").exists())


def test_start_up_does_not_wait_for_what_a_slot_names(tree: Path) -> None:
    pending = tree / "pending"
    pending.mkdir()
    here = tree / ".hutch-0123456789abcdef.tmp"
    here.touch()
    with hung(tree / "hung") as place:
        for number, path in enumerate((place / here.name, here)):
            (pending / str(number)).write_bytes(os.fsencode(path).ljust(8192, b"\0"))
        slots = _native.Pending(os.fsencode(pending))
        assert not here.exists()
        # What is claimed meanwhile stands beside the slot that nobody could deal with yet.
        for _ in range(2):
            found = _native.locate(os.fsencode(tree / "file"), follow=True)
            writer = _native.Writer(found, slots)
            writer.write(b"x")
            writer.commit(_native.Stop())
        assert sorted(os.listdir(pending)) == ["0", "1"]

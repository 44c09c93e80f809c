"""After many commands the server is what it was: descriptors, threads, children, memory.

Source: the promise that nothing is leaked; design, section 5, "memory".
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.client import Client
from tests.commands import run, stream, until
from tests.serving import serving


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    descriptors: int
    threads: int
    children: int
    resident: int

    @classmethod
    def by(cls, pid: int) -> Held:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = dict(one.split(":", 1) for one in status)
        children = 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                children += len((task / "children").read_text().split())
        return cls(
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
            threads=int(fields["Threads"]),
            children=children,
            resident=int(fields["VmRSS"].split()[0]) // 1024,
        )


def some(client: Client, count: int) -> None:
    """Commands of every kind: waited for, timed out, streamed, in the background, that cannot be started."""
    for number in range(count):
        match number % 7:
            case 0 | 1:
                assert run(client, ["true"])["exit_code"] == 0
            case 2:
                assert stream(client, ["echo", "a"])[-1].data["exit_code"] == 0
            case 3:
                client.failure("POST", "/exec", 500, body={"cmd": ["no-such-program", "x"]})
            case 4:
                task = run(client, ["cat"], 202, background=True)["id"]
                client.request("POST", f"/exec/{task}/input", content=b"x", query="eof=true")
                client.json(f"/exec/{task}", wait=10)
            case 5:
                assert run(client, ["sleep", "60"], timeout_seconds=0.01)["exit_code"] == 124
            case _:
                task = run(client, ["sleep", "60"], 202, background=True)["id"]
                client.request("DELETE", f"/exec/{task}")


def check(tmp_path: Path, *, warm: int, count: int, most_mib: int) -> None:
    # Each task is remembered: few of them, so that what grows is a leak.
    with serving(tmp_path, "--exec-finished=50") as target, target.client() as client:
        some(client, warm)
        before = Held.by(target.pid)
        some(client, count)
        until(lambda: Held.by(target.pid).descriptors <= before.descriptors)
        after = Held.by(target.pid)
        assert after.children == 0
        assert after.threads <= before.threads + 4, "idle threads come and go"
        assert after.resident - before.resident <= most_mib
        assert not list((target.state_dir / "tasks").glob("*"))


def test_hundreds_of_commands_leave_nothing(tmp_path: Path) -> None:
    check(tmp_path, warm=90, count=300, most_mib=4)


@pytest.mark.slow
def test_ten_thousand_commands_leave_nothing(tmp_path: Path) -> None:
    check(tmp_path, warm=300, count=10_000, most_mib=8)

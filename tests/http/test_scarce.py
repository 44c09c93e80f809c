"""A server that is out of descriptors: what it says, and what it makes good afterwards.

Each limit is put on the server while it runs, and only what it opens meanwhile fails.
Source: wire contract, sections 5 and 6; design, section 5, "nothing in silence".
"""

from __future__ import annotations

import os
import resource
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests import mounting
from tests.client import Client, Json
from tests.commands import marked, until
from tests.serving import Target, serving
from tests.terminals import closed, has_ended, opened
from tests.watchers import watch
from tests.watching import wait_until


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with serving(tmp_path / "server", "--terminal-hangup-seconds=0.2") as one:
        yield one
        assert "Traceback" not in one.log.read_text()


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    """With a connection that is there already."""
    with target.client() as one:
        one.json("/terminals")
        yield one


@contextmanager
def only(target: Target, count: int) -> Iterator[None]:
    """No descriptor from `count` on can be had."""
    before = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.prlimit(target.pid, resource.RLIMIT_NOFILE, before)


def held(target: Target) -> int:
    return len(os.listdir(f"/proc/{target.pid}/fd"))


def test_a_terminal_for_which_descriptors_are_missing_is_503_at_every_step(
    target: Target, client: Client
) -> None:
    closed(client, opened(client, ["cat"])["id"])
    wait_until(lambda: not client.json("/terminals")["terminals"])
    statuses: list[int] = []
    first = held(target)
    while not statuses or statuses[-1] != 201:
        assert len(statuses) < 20
        with only(target, first + len(statuses)):
            answer = client.request("POST", "/terminals", body={"cmd": ["cat"]})
        statuses.append(answer.status_code)
        assert answer.status_code == 201 or answer.json()["code"] == "unavailable", answer.text
    assert len(statuses) > 3
    closed(client, answer.json()["id"])
    wait_until(lambda: held(target) <= first)


def test_what_a_shell_left_while_descriptors_were_out_is_ended_with_its_terminal(
    target: Target, client: Client, tmp_path: Path
) -> None:
    mark, go = f"MARK={secrets.token_hex(8)}", tmp_path / "go"
    script = (
        "trap '' HUP; sleep 600 </dev/null >/dev/null 2>&1 & "
        f"while [ ! -e {shlex.quote(str(go))} ]; do sleep 0.01; done"
    )
    one = opened(client, ["bash", "-c", script], env=dict([mark.split("=")]))
    until(lambda: marked(mark))
    with only(target, 5):
        go.touch()
        until(lambda: has_ended(client, one["id"]))
        client.json("/terminals")
    assert marked(mark)
    closed(client, one["id"])
    until(lambda: not marked(mark))


def test_a_directory_that_appears_while_descriptors_are_out_is_watched_afterwards(
    target: Target, client: Client, tree: Path
) -> None:
    """It is told as lost, and the root, which cannot be looked at either, is not told as gone."""
    events = watch(client, path=str(tree))
    with only(target, 5):
        (tree / "d").mkdir()
        (tree / "d" / "e").mkdir()
        path = f"/watchers/{events.id}/changes"
        told: Json = {}
        wait_until(lambda: told.update(client.json(path, since=events.start)) or told["changes"])
        assert [(one["path"], one["op"]) for one in told["changes"]] == [(f"{tree}/d", "create")]
    wait_until(lambda: told.update(client.json(path, since=events.start)) or told["fresh"])
    wait_until(lambda: events.facts["dirs"] == 3)
    assert (events.facts["active"], events.facts["incomplete"]) == (True, False)
    events.at = events.facts["seq"]
    os.mknod(tree / "d" / "e" / "f")
    assert [one["path"] for one in events.until("d/e/f")][-1] == f"{tree}/d/e/f"


def test_a_watcher_for_which_descriptors_are_missing_is_500_and_says_why(
    target: Target, client: Client, tree: Path
) -> None:
    with only(target, 5):
        told = client.failure("POST", "/watchers", 500, body={"path": str(tree)})
    assert "too many inotify instances, or open files" in told["error"]
    watch(client, path=str(tree))


@mounting.needs_mounts
def test_without_terminals_to_be_had_it_is_500_and_says_why(tmp_path: Path) -> None:
    few = (
        "mount -t devpts -o newinstance,ptmxmode=0666,max=1 none /dev/pts",
        "mount --bind /dev/pts/ptmx /dev/ptmx",
    )
    with serving(tmp_path, preexec=mounting.inside(*few)) as target, target.client() as client:
        one = opened(client, ["cat"])
        told = client.failure("POST", "/terminals", 500, body={"cmd": ["cat"]})
        assert (told["code"], "kernel.pty.max" in told["error"]) == ("internal", True)
        closed(client, one["id"])
        again = {"cmd": ["cat"]}
        until(lambda: client.request("POST", "/terminals", body=again).status_code == 201)

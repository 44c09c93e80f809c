"""Words for tests of commands: running one, reading its events, looking for its processes.

Belongs here: what several files of tests need. Banned here: what is expected of it.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.client import Client, Json

SECONDS = 20.0


def run(client: Client, cmd: object, /, status: int = 200, **body: object) -> Json:
    """A synchronous call, or one in the background with `status=202`."""
    answer = client.request("POST", "/exec", body={"cmd": cmd, **body})
    assert answer.status_code == status, answer.text
    return dict(answer.json())


@dataclass(frozen=True)
class Event:
    """One event as a client gets it; `id` is where a reconnect goes on."""

    name: str
    data: Json
    id: str


def events(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream. Each has one line of every kind, and ends with an empty one."""
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            assert line == ":", line
        elif line:
            name, gap, value = line.partition(": ")
            assert gap and name not in found, line
            found[name] = value
        elif found:
            assert set(found) == {"id", "event", "data"}, found
            yield Event(found["event"], json.loads(found["data"]), found["id"])
            found = {}
    assert not found, "the stream ended in the middle of an event"


@contextmanager
def following(
    client: Client,
    task: str | None = None,
    *,
    body: Json | None = None,
    headers: dict[str, str] | None = None,
) -> Iterator[Iterator[Event]]:
    """The events of a task, or of a command that is started by it."""
    if body is None:
        asked = client.http.stream("GET", f"/exec/stream?task_id={task}", headers=headers)
    else:
        asked = client.http.stream("POST", "/exec/stream", json=body, headers=headers)
    with asked as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        yield events(answer.iter_lines())


def follow(client: Client, task: str, **rest: Any) -> list[Event]:
    """All events to the end; `exit` is the last, and comes once."""
    with following(client, task, **rest) as stream:
        return ended(list(stream))


def stream(client: Client, cmd: object, /, **body: object) -> list[Event]:
    """Runs a command, and reads its events to the end."""
    with following(client, body={"cmd": cmd, **body}) as found:
        return ended(list(found))


def ended(found: list[Event]) -> list[Event]:
    assert [one.name for one in found].count("exit") == 1
    assert found[-1].name == "exit"
    return found


def written(found: list[Event], name: str = "stdout") -> bytes:
    """What the events of one stream carried."""
    return b"".join(base64.b64decode(one.data["data"]) for one in found if one.name == name)


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that only waits to be reaped does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rsplit(")", 1)[1].split()[0] not in "ZX"


def marked(mark: str) -> list[int]:
    """The processes with `mark` in their environment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and is_alive(int(name)):
            try:
                environ = Path(f"/proc/{name}/environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if mark.encode() in environ:
                found.append(int(name))
    return found


def until(condition: Callable[[], Any], *, seconds: float = SECONDS) -> Any:
    """Waits for what tells nobody; gives what the condition gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)
    return found


def kept(client: Client, task: str, **query: object) -> httpx2.Response:
    """The raw output of a task."""
    return client.get(f"/exec/{task}/output", **query)

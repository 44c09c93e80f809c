"""A watcher as tests see it: its events in order, and what they make of a tree.

Belongs here: making a watcher, reading its changes, replaying them. Banned here: what is tested.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from tests.client import Client, Json
from tests.watching import PATIENCE_SECONDS

# Larger answers are not held to the schema: it takes longer than anything that is tested.
_VALIDATED = 100


def watch(client: Client, **body: object) -> Events:
    """A watcher; every field of the body as it is given."""
    made = client.request("POST", "/watchers", body=body)
    assert made.status_code == 200, made.text
    told = made.json()
    return Events(client, told["id"], told["root"], told["seq"], told["seq"])


@dataclass
class Events:
    """A cursor into a watcher's changes; `seen` is all that it has read."""

    client: Client
    id: str
    root: str
    start: int
    at: int
    lost: bool = False
    seen: list[Json] = field(default_factory=list)

    @property
    def facts(self) -> Json:
        told = self.client.json(f"/watchers/{self.id}")
        return dict(told["watcher"])

    def take(self, count: int, *, lossy: bool = False) -> list[Json]:
        """The next events, at least so many; all that are there where none are asked for."""
        found: list[Json] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            wait = 1 if len(found) < count else 0
            told = self._ask(wait)
            assert lossy or not told["fresh"], "events were lost"
            self.lost |= told["fresh"]
            self.at = told["seq"]
            found += told["changes"]
            if not told["more"] and len(found) >= count:
                break
            assert time.monotonic() < deadline, (count, found[-20:])
        self.seen += found
        return found

    def _ask(self, wait: int) -> Json:
        path = f"/watchers/{self.id}/changes"
        answer = self.client.http.get(path, params={"since": self.at, "wait": wait})
        assert answer.status_code == 200, answer.text
        told = dict(answer.json())
        if len(told["changes"]) < _VALIDATED:
            self.client.validate("GET", path, answer)
        return told

    def ops(self, count: int) -> dict[str, str]:
        """The next events, of exactly so many paths: the last operation by path below the root."""
        told: dict[str, str] = {}
        while len(told) < count:
            told |= {self.rel(one): one["op"] for one in self.take(1)}
        assert len(told) == count, told
        return told

    def until(self, name: str, *, lossy: bool = False) -> list[Json]:
        """All events up to one of the path `name` below the root."""
        found: list[Json] = []
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        while not any(self.rel(one) == name for one in found):
            assert time.monotonic() < deadline, found[-20:]
            found += self.take(1, lossy=lossy)
        return found

    def replayed(self, known: Collection[str], *, until: str) -> set[str]:
        """The paths that there are, by the events up to one of `until`, of those once `known`."""
        return replay(known, ((self.rel(one), one["op"]) for one in self.until(until)))

    def rel(self, event: Json) -> str:
        path = str(event["path"])
        assert path == self.root or path.startswith(f"{self.root.rstrip('/')}/"), path
        return path[len(self.root.rstrip("/")) + 1 :]


def replay(known: Collection[str], events: Iterable[tuple[str, str]]) -> set[str]:
    """A model of the tree: what goes takes along what is below it."""
    model = set(known)
    for path, op in events:
        if op in ("create", "write"):
            model.add(path)
        else:
            model = {one for one in model if one != path and not one.startswith(f"{path}/")}
    return model

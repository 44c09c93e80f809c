"""Random changes of a tree: the events, replayed, give the tree on the disk.

Oracle: `os.walk`. The same on each file system that a workspace's files may lie on.
Source: wire contract, section 6; design, section 5, "nothing in silence".
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import mounting, trees
from tests.client import Client
from tests.serving import serving
from tests.watchers import replay, watch

EXCLUDED: Final = "node_modules"
NAMES: Final = ("a", "b", "c", "a b", "ä", EXCLUDED)
SPEC: Final[trees.Spec] = {"a/b/c": "x", "a/c": "", "b/a/a/": None, f"b/{EXCLUDED}/a": "", "c": ""}


@dataclass(frozen=True)
class Ground:
    """Where the trees are: as the server has it, and as the test sees the same place."""

    client: Client
    place: Path
    seen: Path


@contextmanager
def _plain(tmp_path: Path) -> Iterator[Ground]:
    with serving(tmp_path / "server") as target, target.client() as client:
        place = tmp_path / "place"
        place.mkdir()
        yield Ground(client, place, place)


@contextmanager
def _tmpfs(tmp_path: Path) -> Iterator[Ground]:
    place = tmp_path / "place"
    place.mkdir()
    yield from _mounted(tmp_path, place, mounting.tmpfs(place, "16m"))


@contextmanager
def _overlay(tmp_path: Path) -> Iterator[Ground]:
    """Every tree begins in the lower layer, as what comes with an image does."""
    place, image = tmp_path / "place", tmp_path / "image"
    place.mkdir()
    for number in range(OVERLAY_EXAMPLES * 2):
        trees.build(image / str(number) / "root", SPEC)
        trees.build(image / str(number) / "out", SPEC)
    options = f"lowerdir={image},upperdir=/mnt/upper,workdir=/mnt/work"
    yield from _mounted(
        tmp_path,
        place,
        mounting.tmpfs(Path("/mnt"), "64m"),
        "mkdir /mnt/upper /mnt/work",
        mounting.command("mount", "-t", "overlay", "-o", options, "none", place),
    )


def _mounted(tmp_path: Path, place: Path, *commands: str) -> Iterator[Ground]:
    with serving(tmp_path / "server", preexec=mounting.inside(*commands)) as target:
        with target.client() as client:
            yield Ground(client, place, mounting.seen_by(target.pid, place))


OVERLAY_EXAMPLES: Final = 20
GROUNDS: Final = {
    "plain": (_plain, 35),
    "tmpfs": (_tmpfs, 15),
    "overlay": (_overlay, OVERLAY_EXAMPLES),
}


# --- changes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """Something done to the tree: `one` and `other` are picked among what is there."""

    do: str
    one: int
    other: int
    name: str


CHANGES = st.lists(
    st.builds(
        Change,
        do=st.sampled_from(
            ["make", "deep", "write", "remove", "move", "move", "swap", "out", "in", "hear"]
        ),
        one=st.integers(0, 30),
        other=st.integers(0, 30),
        name=st.sampled_from(NAMES),
    ),
    max_size=25,
)


class Tree:
    """A tree that is changed, and a place outside of it."""

    def __init__(self, root: Path, out: Path) -> None:
        self.root, self.out = root, out
        self._outside = count()

    def apply(self, change: Change) -> None:
        """What cannot be done (a directory moved into itself, say) is left undone."""
        actions: dict[str, Callable[[Change], None]] = {
            "make": self.make,
            "deep": self.deep,
            "write": self.write,
            "remove": self.remove,
            "move": self.move,
            "swap": self.swap,
            "out": self.out_of,
            "in": self.into,
        }
        with suppress(OSError, shutil.Error):
            actions[change.do](change)

    def below(self) -> list[Path]:
        return sorted(self.root.rglob("*"))

    def pick(self, number: int) -> Path:
        found = self.below()
        return found[number % len(found)] if found else self.root / "a"

    def directory(self, number: int) -> Path:
        found = [self.root, *(one for one in self.below() if one.is_dir())]
        return found[number % len(found)]

    def make(self, change: Change) -> None:
        os.mknod(self.directory(change.one) / change.name)

    def deep(self, change: Change) -> None:
        place = self.directory(change.one) / change.name / "b" / "c"
        place.mkdir(parents=True)
        os.mknod(place / "a")

    def write(self, change: Change) -> None:
        self.pick(change.one).write_text("more")

    def remove(self, change: Change) -> None:
        place = self.pick(change.one)
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()

    def move(self, change: Change) -> None:
        self.pick(change.one).rename(self.directory(change.other) / change.name)

    def swap(self, change: Change) -> None:
        trees.exchange(self.pick(change.one), self.pick(change.other))

    def out_of(self, change: Change) -> None:
        self.pick(change.one).rename(self.out / f"o{next(self._outside)}")

    def into(self, change: Change) -> None:
        found = sorted(self.out.iterdir())
        if not found:
            return
        found[change.other % len(found)].rename(self.directory(change.one) / change.name)


def on_disk(root: Path) -> set[str]:
    found: set[str] = set()
    for place, directories, files in os.walk(root):
        directories[:] = [one for one in directories if one != EXCLUDED]
        names = [one for one in (*directories, *files) if one != EXCLUDED]
        found |= {os.path.relpath(os.path.join(place, one), root) for one in names}
    return found


def directories(root: Path) -> int:
    return 1 + sum((root / one).is_dir() and not (root / one).is_symlink() for one in on_disk(root))


# --- the test ----------------------------------------------------------------------------------


def check(ground: Ground, number: int, changes: list[Change]) -> None:
    root, out = (ground.seen / str(number) / name for name in ("root", "out"))
    if not root.exists():
        trees.build(root, SPEC)
        trees.build(out, SPEC)
    tree, model = Tree(root, out), on_disk(root)
    events = watch(ground.client, path=str(ground.place / str(number) / "root"))
    try:
        for change in changes:
            if change.do == "hear":
                events.take(0)
            else:
                tree.apply(change)
        os.mknod(root / "end")
        events.until("end")
        model = replay(model, ((events.rel(one), one["op"]) for one in events.seen))
        assert model == on_disk(root), (changes, events.seen)
        assert events.facts["dirs"] == directories(root)
        assert not events.facts["incomplete"]
    finally:
        ground.client.request("DELETE", f"/watchers/{events.id}")


@pytest.mark.parametrize(
    "name",
    ["plain", *(pytest.param(one, marks=mounting.needs_mounts) for one in ("tmpfs", "overlay"))],
)
def test_events_give_the_tree(tmp_path: Path, name: str) -> None:
    make, examples = GROUNDS[name]
    numbers = count()
    with make(tmp_path) as ground:

        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )
        @given(changes=CHANGES)
        def run(changes: list[Change]) -> None:
            check(ground, next(numbers), changes)

        run()

"""The extension's walk, asked directly: what it costs, by count and not by clock.

Oracle: the tree itself. Source: wire contract, section 2, `light`; design of the feed.
"""

from __future__ import annotations

import json
import os
import resource
import select
import time
from pathlib import Path
from typing import Any

import pytest
from tests import trees

from hutch import _native
from hutch.runtime.walk import Walk
from hutch.wire.errors import Failure

SPEC: trees.Spec = {
    **{f"d{outer}/f{inner}": "x" * inner for outer in range(20) for inner in range(20)},
    "empty/": None,
}


def walk(root: Path, form: Any = "stream", **given: Any) -> _native.Walk:
    asked: dict[str, Any] = {
        "form": form,
        "light": False,
        "include_hash": False,
        "include_content": False,
        "include_extensions": False,
        "code_files_only": False,
        "use_gitignore": False,
        "max_depth": 20,
        "path_filter": "",
        "include_ext": [],
        "ignore_patterns": [],
        "max_content_budget": 50_000_000,
        "content_limit": 50_000_000,
        "entry_limit": 50_000,
    }
    return _native.Walk(bytes(root), **{**asked, **given})


def drain(one: _native.Walk) -> bytes:
    batches = []
    while batch := take(one):
        batches.append(batch)
    return b"".join(batches)


def take(one: _native.Walk) -> bytes:
    """The next batch; b"" at the end."""
    while (batch := one.try_next()) is None:
        assert select.select([one.fileno()], [], [], 10)[0], "no batch within ten seconds"
    return bytes(batch)


@pytest.mark.parametrize("form", ["stream", "children", "flat", "tree"])
@pytest.mark.parametrize("use_gitignore", [True, False])
def test_light_makes_no_stat(tree: Path, form: str, use_gitignore: bool) -> None:
    one = walk(trees.build(tree, SPEC), form, light=True, use_gitignore=use_gitignore)
    drain(one)
    assert one.statistics().stats == 0


@pytest.mark.parametrize("form", ["stream", "flat", "tree"])
def test_an_entry_costs_one_stat_and_a_directory_one_open(tree: Path, form: str) -> None:
    one = walk(trees.build(tree, SPEC), form)
    drain(one)
    counted = one.statistics()
    assert counted.entries == counted.stats == 20 * 20 + 21
    assert counted.opens <= 21 + 2


def test_a_remembered_digest_costs_no_open(tree: Path) -> None:
    trees.build(tree, SPEC)
    trees.age(tree)
    first = walk(tree, include_hash=True)
    assert drain(first).count(b'"hash"') == 400
    again = walk(tree, include_hash=True)
    assert drain(again).count(b'"hash"') == 400
    assert first.statistics().opens - again.statistics().opens == 400


def test_a_capped_list_stats_only_what_it_may_keep(tree: Path) -> None:
    trees.build(tree, {f"f{number:04}": "" for number in range(5000)})
    one = walk(tree, "flat", entry_limit=10)
    told = json.loads(drain(one))
    assert [entry["name"] for entry in told["entries"]] == [f"f{n:04}" for n in range(10)]
    assert told["truncated"] is True
    assert one.statistics().stats <= 11


def test_statistics_count_batches_and_bytes(tree: Path) -> None:
    one = walk(trees.build(tree, SPEC))
    size = len(drain(one))
    counted = one.statistics()
    assert counted.bytes == size
    assert counted.batches >= 2


def test_a_root_that_is_not_there_is_told_by_the_first_batch(tree: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        take(walk(tree / "nope"))
    assert caught.value.filename == bytes(tree / "nope")


def test_a_stopped_walk_says_so(tree: Path) -> None:
    one = walk(trees.build(tree, SPEC))
    one.stop()
    with pytest.raises(InterruptedError):
        drain(one)


def test_a_walk_that_nobody_reads_parks_and_goes_on_where_it_was(tree: Path) -> None:
    trees.build(tree, {f"d{n:02}/{'x' * 200}{i:03}": "" for n in range(20) for i in range(300)})
    parked = [walk(tree) for _ in range(20)]
    # More walks than threads, all parked: another one is not held up.
    assert drain(walk(tree)).count(b"\n") == 20 * 301 + 2
    for one in parked:
        # What may lie in one feed, and the batches that were being made.
        assert one.statistics().bytes < 1.5 * 1024 * 1024
    for one in parked:
        assert drain(one).count(b"\n") == 20 * 301 + 2


def test_larger_files_are_open_one_at_a_time(tree: Path) -> None:
    for number in range(300):
        with (tree / f"f{number}").open("wb") as file:
            file.truncate(2 * 1024 * 1024)
    one = walk(tree, include_hash=True, light=True)
    before = len(os.listdir("/proc/self/fd"))
    most = before
    while take(one):
        most = max(most, len(os.listdir("/proc/self/fd")))
    assert most - before < 20


@pytest.mark.parametrize("form", ["stream", "flat"])
def test_hashing_huge_files_leaves_the_threads_to_others(tree: Path, form: str) -> None:
    huge = []
    for number in range(2 * (os.cpu_count() or 1)):
        trees.build(tree, {f"d{number}/small": ""})
        with (tree / f"d{number}" / "huge").open("wb") as file:
            file.truncate(1 << 40)
        huge.append(walk(tree / f"d{number}", form, include_hash=True))
    try:
        drained = drain(walk(trees.build(tree / "other", SPEC), form))
        assert drained.count(b'"type":') == 421
        assert b'"huge"' not in b"".join(one.try_next() or b"" for one in huge)
    finally:
        for one in huge:
            one.stop()


def test_hashing_many_files_leaves_the_threads_to_others(tree: Path) -> None:
    trees.build(tree, {"many/0": b"x" * 1_000_000, "other/": None})
    for number in range(1, 5000):
        os.link(tree / "many" / "0", tree / "many" / str(number))
    many = [walk(tree / "many", include_hash=True) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        drain(walk(tree / "other"))
        # One `getdents64` gives them all, and yet they are not done in one turn.
        assert all(one.statistics().entries < 2000 for one in many)
    finally:
        for one in many:
            one.stop()


def test_a_list_out_of_descriptors_leaves_nothing_out(tree: Path) -> None:
    trees.build(tree, {f"f{number:02}": "x" * 200_000 for number in range(50)})
    one = walk(tree, "flat", include_content=True)
    told = take(one)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        told += drain(one)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    answer = json.loads(told)
    assert answer["count"] == len(answer["entries"]) == 50
    left_out = [entry["content_skipped"] for entry in answer["entries"] if "content" not in entry]
    assert left_out
    assert set(left_out) == {"unreadable"}


@pytest.mark.parametrize("form", ["stream", "flat"])
def test_many_that_stall_hold_little_each_whatever_their_files_hold(tree: Path, form: str) -> None:
    content = "\\n" * 450_000
    trees.build(tree, {f"f{number}": content for number in range(4)})
    stalled = [walk(tree, form, include_content=True) for _ in range(100)]
    held, before = 1, 0
    while held != before:
        time.sleep(0.2)  # nothing tells that all have parked
        held, before = sum(one.statistics().bytes for one in stalled), held
    # Walk and answer buffers: 64 MiB together.
    assert held < 64 * 1024 * 1024
    for one in stalled[:3] + stalled[-3:]:
        told = drain(one)
        assert told.count(json.dumps(content).encode()) == 4


async def test_a_walk_that_breaks_off_is_a_failure(tree: Path) -> None:
    trees.build(tree, {f"d{n:02}/{'x' * 200}{i:03}": "" for n in range(20) for i in range(300)})
    one = Walk(walk(tree))
    assert await one.pull()
    _native.pool_close()
    with pytest.raises(Failure, match="broke off") as caught:
        while await one.pull() is not None:
            pass
    assert caught.value.code == "internal"
    one.stop()


def test_the_pool_can_be_closed_and_made_anew(tree: Path) -> None:
    trees.build(tree, SPEC)
    for _ in range(3):
        assert b'"event":"done"' in drain(walk(tree))
        _native.pool_close()

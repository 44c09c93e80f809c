"""The extension's walk, asked directly: what it costs, by count and not by clock.

Oracle: the tree itself. Source: wire contract, section 2, `light`; design of the feed.
"""

from __future__ import annotations

import json
import os
import select
from pathlib import Path
from typing import Any

import pytest
from tests import trees

from hutch import _native

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
    return batch


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
        assert one.statistics().bytes < 1024 * 1024
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


def test_the_pool_can_be_closed_and_made_anew(tree: Path) -> None:
    trees.build(tree, SPEC)
    for _ in range(3):
        assert b'"event":"done"' in drain(walk(tree))
        _native.pool_close()

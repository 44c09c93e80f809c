"""`GET /files/search/files`: what is found, in which order, how many.

The oracles are `os.walk` and a sort. Source: wire contract, section 3, "Filename search".
"""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import trees
from tests.client import Client, Json

SPEC: trees.Spec = {
    "auth/controller.go": "",
    "user/controller.go": "",
    "Controller": "",
    "controllers/x.py": "",
    "controllers/deep/y.py": "",
    "a/very/long/way/to/my_controller_test.go": "",
    "other.go": "",
    ".hidden/controller": "",
    "z/.controller": "",
}


def find(client: Client, path: Path, q: str, **rest: object) -> Json:
    return client.json("/files/search/files", q=q, path=path, **rest)


def test_the_documented_answer(client: Client, tree: Path) -> None:
    trees.build(tree, {"auth/controller.go": "", "user/controller.go": "", "x": ""})
    assert find(client, tree, "controller") == {
        "success": True,
        "query": "controller",
        "path": str(tree),
        "files": ["auth/controller.go", "user/controller.go"],
        "total_files": 2,
        "capped": False,
    }


def test_the_best_come_first(client: Client, tree: Path) -> None:
    trees.build(tree, SPEC)
    best = [
        "Controller",
        "auth/controller.go",
        "user/controller.go",
        "a/very/long/way/to/my_controller_test.go",
        "controllers/x.py",
        "controllers/deep/y.py",
    ]
    assert find(client, tree, "controller")["files"] == best
    for most in (1, 3, 5, 6):
        told = find(client, tree, "controller", max_results=most)
        assert told["files"] == best[:most]
        assert (told["total_files"], told["capped"]) == (6, most < 6)


@pytest.mark.parametrize(
    ("query", "rest", "wanted"),
    [
        ("CONTROLLER", {}, 6),
        ("CONTROLLER", {"case_sensitive": True}, 0),
        ("Controller", {"case_sensitive": True}, 1),
        ("th/con", {}, 1),
        ("controller", {"include_hidden": True}, 8),
        ("controller", {"ignore_patterns": "*.py,/a/"}, 3),
        (".go", {}, 4),
        ("*", {}, 0),
        ("-f", {}, 0),
        (" ", {}, 0),
    ],
)
def test_parameters_choose(
    client: Client, tree: Path, query: str, rest: dict[str, object], wanted: int
) -> None:
    trees.build(tree, SPEC)
    told = find(client, tree, query, **rest)
    assert (len(told["files"]), told["total_files"]) == (wanted, wanted)


def test_fuzzy_takes_letters_in_their_order(client: Client, tree: Path) -> None:
    trees.build(tree, SPEC)
    told = find(client, tree, "mycontest", fuzzy=True)
    assert told["files"] == ["a/very/long/way/to/my_controller_test.go"]
    assert find(client, tree, "mycontest")["files"] == []
    names = find(client, tree, "ctrlr", fuzzy=True)["files"]
    assert names[0] == "Controller"
    assert set(names) >= {"auth/controller.go", "controllers/x.py"}
    assert find(client, tree, "Ctrlr", fuzzy=True, case_sensitive=True)["files"] == ["Controller"]


def test_rules_are_the_listing_s(client: Client, tree: Path) -> None:
    trees.repository(
        tree,
        {
            ".gitignore": "build/\n*.o\n!keep.o\n",
            "build/name": "",
            "build/tracked/name": "",
            "name.o": "",
            "sub/.gitignore": "name.c\n",
            "sub/name.c": "",
            "name.c": "",
            "keep.o/": None,
        },
    )
    trees.git(tree, "add", "-f", "build/tracked/name")
    assert find(client, tree, "name")["files"] == ["name.c", "build/tracked/name"]
    everything = find(client, tree, "name", no_gitignore=True)["files"]
    assert set(everything) == {"name.c", "name.o", "sub/name.c", "build/name", "build/tracked/name"}
    assert find(client, tree / "build", "name")["files"] == ["name", "tracked/name"]
    git = find(client, tree, "index", include_hidden=True)["files"]
    assert git == []
    assert (
        ".git/index" in find(client, tree, "index", include_hidden=True, no_gitignore=True)["files"]
    )


def test_links_are_found_and_not_followed(client: Client, tree: Path) -> None:
    trees.build(tree, {"dir/name": ""})
    (tree / "name link").symlink_to("dir")
    assert find(client, tree, "name")["files"] == ["dir/name", "name link"]


def test_names_that_are_not_utf8_are_lost_nowhere(client: Client, tree: Path) -> None:
    trees.build(tree, {"name": "", "caf\udce9/name": "", "name \udcff": ""})
    told = find(client, tree, "name")
    assert told["files"] == ["name", "name \ufffd", "caf\ufffd/name"]
    raw = [base64.urlsafe_b64decode(one + "=" * (-len(one) % 4)) for one in told["files_b64"]]
    assert set(raw) == {b"name", b"caf\xe9/name", b"name \xff"}
    assert [one.decode("utf-8", "replace") for one in raw] == told["files"]
    assert "files_b64" not in find(client, tree, "nothing")


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("path={0}", 400, "q"),
        ("q=&path={0}", 400, "q"),
        ("q=" + "x" * 1001 + "&path={0}", 400, "q"),
        ("q=a%0Ab&path={0}", 400, "q"),
        ("q=%FF&path={0}", 400, "q"),
        ("q=x&max_results=0&path={0}", 400, "max_results"),
        ("q=x&ignore_patterns=%5B&path={0}", 400, "ignore_patterns"),
        ("q=x&path={0}/file", 400, "file"),
        ("q=x&path={0}/none", 404, "none"),
        ("q=x&path={0}/fifo", 400, "fifo"),
    ],
)
def test_what_cannot_be(client: Client, tree: Path, query: str, status: int, word: str) -> None:
    trees.build(tree, {"file": ""})
    trees.make_fifo(tree / "fifo")
    told = client.failure("GET", "/files/search/files", status, query=query.format(tree))
    assert word in told["error"]


NAMES = st.text("abcAB.é -_", min_size=1, max_size=6).filter(lambda one: one.strip(".") != "")
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths=PATHS, query=st.text("abcABé./", min_size=1, max_size=3), most=st.integers(1, 5),
       case=st.booleans())  # fmt: skip
def test_the_order_is_a_sort(
    client: Client, paths: list[str], query: str, most: int, case: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for path in paths:
            above = [one for one in (root / path).parents if one != root]
            if not (root / path).is_dir() and not any(one.is_file() for one in above):
                trees.build(root, {path: ""})
        told = find(client, root, query, max_results=most, case_sensitive=case, include_hidden=True)
        files = [
            os.path.relpath(os.path.join(at, one), root)
            for at, _, names in os.walk(root)
            for one in names
        ]

    def has(text: str) -> bool:
        return query in text if case else query.lower() in text.lower()

    wanted = sorted(
        (one for one in files if has(one)),
        key=lambda one: (not has(os.path.basename(one)), len(one.encode()), one.encode()),
    )
    assert told["files"] == wanted[:most]
    assert (told["total_files"], told["capped"]) == (len(wanted), len(wanted) > most)

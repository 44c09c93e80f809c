"""`GET /files` and `GET /files/stream`, sentence by sentence.

Source: wire contract, section 2, "List and stream". Oracles: `os.scandir`, `os.lstat`,
`hashlib`, `json.loads` on every line.
"""

from __future__ import annotations

import base64
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import trees
from tests.client import Client, b64
from tests.serving import serving

Json = dict[str, Any]

SMALL: trees.Spec = {
    "b.txt": "bee\n",
    "a/inner.py": "print(1)\n",
    "a/deep/er/x.rs": "fn main() {}\n",
    "a-b": "",
    "Z": "zed",
    "empty/": None,
    ".hidden": "h",
}


@pytest.fixture
def small(tree: Path) -> Path:
    return trees.build(tree, SMALL)


def flat(entries: list[Json]) -> Iterator[Json]:
    """A tree in pre-order, children taken out."""
    for one in entries:
        children = one.pop("children", [])
        yield one
        yield from flat(children)


def names(entries: list[Json], root: Path) -> list[str]:
    return [os.path.relpath(one["path"], root) for one in entries]


def by_path(entries: list[Json]) -> dict[str, Json]:
    return {one["path"]: one for one in entries}


def test_a_stream_tells_what_lstat_tells(client: Client, small: Path) -> None:
    (small / "link").symlink_to("b.txt")
    (small / "dangling").symlink_to("/nowhere/at all")
    trees.make_fifo(small / "fifo")
    trees.make_socket(small / "socket")
    entries = client.entries(path=small)
    wanted = {path.decode(): entry for path, entry in trees.everything(small).items()}
    assert by_path(entries) == wanted
    assert len(entries) == len(wanted)


def test_a_stream_starts_and_ends_with_events(client: Client, small: Path) -> None:
    lines = client.lines("/files/stream", path=small)
    assert lines[0] == {"event": "start", "path": str(small)}
    assert lines[-1] == {"event": "done", "count": len(lines) - 2}


def test_a_stream_is_ndjson(client: Client, small: Path) -> None:
    answer = client.get("/files/stream", path=small)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.content.endswith(b"\n")


def test_a_list_holds_the_direct_children_in_bytewise_order(client: Client, small: Path) -> None:
    told = client.json("/files", path=small)
    assert [one["name"] for one in told["entries"]] == [
        ".hidden", "Z", "a", "a-b", "b.txt", "empty",
    ]  # fmt: skip
    assert (told["success"], told["path"], told["count"]) == (True, str(small), 6)
    assert all("children" not in one for one in told["entries"])
    assert "truncated" not in told


def test_a_tree_nests_children(client: Client, small: Path) -> None:
    told = client.json("/files", path=small, nested=True)
    top = {one["name"]: one for one in told["entries"]}
    assert top["empty"]["children"] == []
    assert "children" not in top["b.txt"]
    assert [one["name"] for one in top["a"]["children"]] == ["deep", "inner.py"]
    assert told["count"] == len(list(flat(told["entries"]))) == 10


def test_a_flat_list_is_the_trees_pre_order(client: Client, small: Path) -> None:
    nested = client.json("/files", path=small, nested=True)
    flattened = client.json("/files", path=small, nested=True, flatten=True)
    assert list(flat(nested["entries"])) == flattened["entries"]
    assert flattened["count"] == nested["count"]


def test_a_symlink_is_never_followed(client: Client, tree: Path) -> None:
    trees.build(tree, {"real/file": "x"})
    (tree / "real" / "loop").symlink_to("..")
    (tree / "link").symlink_to("real")
    assert sorted(names(client.entries(path=tree), tree)) == [
        "link", "real", "real/file", "real/loop",
    ]  # fmt: skip


def test_the_listed_path_may_be_a_symlink_and_keeps_its_spelling(
    client: Client, small: Path
) -> None:
    link = small.parent / "spelling"
    link.symlink_to(small)
    assert names(client.entries(path=link, max_depth=1), link) != []
    for one in client.json("/files", path=link)["entries"]:
        assert one["path"].startswith(f"{link}/")


@pytest.mark.parametrize("endpoint", ["/files", "/files/stream"])
def test_a_file_is_400_and_a_missing_path_404(client: Client, small: Path, endpoint: str) -> None:
    told = client.failure("GET", endpoint, 400, query={"path": small / "b.txt"})
    assert str(small / "b.txt") in told["error"]
    told = client.failure("GET", endpoint, 404, query={"path": small / "nope"})
    assert str(small / "nope") in told["error"]


def test_light_has_no_size_and_no_time(client: Client, small: Path) -> None:
    (small / "link").symlink_to("b.txt")
    full = by_path(client.entries(path=small))
    for one in client.entries(path=small, light=True):
        assert "size" not in one
        assert "modified" not in one
        assert one["type"] == full[one["path"]]["type"]


EXTENSIONS = {
    "a.go": ".go",
    "a.tar.gz": ".gz",
    "none": None,
    ".profile": None,
    ".a.b": ".b",
    "dot.": ".",
    "UP.TXT": ".TXT",
}


def test_extensions_begin_at_the_last_dot(client: Client, tree: Path) -> None:
    trees.build(tree, dict.fromkeys(EXTENSIONS, ""))
    found = {
        one["name"]: one.get("extension")
        for one in client.entries(path=tree, include_extensions=True)
    }
    assert found == EXTENSIONS
    assert all("extension" not in one for one in client.entries(path=tree))


def test_hashes_are_sha256_of_regular_files(client: Client, small: Path) -> None:
    (small / "link").symlink_to("b.txt")
    trees.make_fifo(small / "fifo")
    (small / "large").write_bytes(os.urandom(3_000_000))
    for _ in range(2):
        entries = client.entries(path=small, include_hash=True)
        assert {one["path"]: one.get("hash") for one in entries} == {
            path.decode(): trees.sha256(path) if entry["type"] == "file" else None
            for path, entry in trees.everything(small).items()
        }


def test_a_hash_follows_the_file(client: Client, tree: Path) -> None:
    place = tree / "file"
    for content in (b"one", b"two", b"six"):
        place.write_bytes(content)
        (entry,) = client.entries(path=tree, include_hash=True)
        assert entry["hash"] == trees.sha256(place)


TEXTS = {
    "plain": b"hello\n",
    "empty": b"",
    "quotes": b'say "hi" \\ back\tslash\r\n',
    "controls": bytes(range(1, 32)),
    "utf8": "žluťoučký 😀 kůň".encode(),
    "separators": "\u2028\u2029\x7f".encode(),
    "large": "zeile ä\n".encode() * 300_000,
}
BINARIES = {"nul": b"a\0b", "latin1": b"caf\xe9", "late": b"x" * 2_000_000 + b"\xff"}


def test_content_is_inline_where_it_is_text(client: Client, tree: Path) -> None:
    trees.build(tree, {**TEXTS, **BINARIES})
    found = {one["name"]: one for one in client.entries(path=tree, include_content=True)}
    assert {name: found[name].get("content") for name in TEXTS} == {
        name: content.decode() for name, content in TEXTS.items()
    }
    assert {found[name].get("content_skipped") for name in BINARIES} == {"binary"}
    assert all("content" not in found[name] for name in BINARIES)


def test_content_and_hash_agree(client: Client, tree: Path) -> None:
    trees.build(tree, {**TEXTS, **BINARIES})
    for one in client.entries(path=tree, include_content=True, include_hash=True):
        assert one["hash"] == trees.sha256(Path(one["path"]))


def test_content_ends_with_the_budget_and_says_so(client: Client, tree: Path) -> None:
    trees.build(tree, {f"f{number}": "x" * 10 for number in range(9)})
    for query in ({"nested": False}, {"nested": True}, {"nested": True, "flatten": True}):
        told = client.json(
            "/files", path=tree, include_content=True, max_content_budget=35, **query
        )
        shown = [one["name"] for one in told["entries"] if "content" in one]
        assert shown == ["f0", "f1", "f2"]
        assert {one.get("content_skipped") for one in told["entries"][3:]} == {"budget"}


def test_a_budget_holds_for_a_stream(client: Client, tree: Path) -> None:
    trees.build(tree, {f"d{number}/f": "x" * 10 for number in range(9)})
    entries = client.entries(path=tree, include_content=True, max_content_budget=35)
    files = [one for one in entries if one["type"] == "file"]
    assert sum("content" in one for one in files) == 3
    assert sum(one.get("content_skipped") == "budget" for one in files) == 6


def test_the_default_budget_is_50_mib_and_nothing_is_spent_on_what_is_left_out(
    client: Client, tree: Path
) -> None:
    trees.build(tree, {"a": b"\0", "b": "x" * (50 * 2**20 - 1), "c": "x", "d": "x"})
    entries = client.json("/files", path=tree, include_content=True)["entries"]
    assert ["content" in one for one in entries] == [False, True, True, False]
    assert [one.get("content_skipped") for one in entries] == ["binary", None, None, "budget"]


def test_a_file_over_the_content_limit_is_too_large(tmp_path: Path, tree: Path) -> None:
    trees.build(tree, {"fits": "x" * 1000, "over": "x" * 1001, "after": "x"})
    with serving(tmp_path / "server", "--content-bytes=1000") as target, target.client() as client:
        for form in ("stream", "list"):
            found = (
                client.entries(path=tree, include_content=True)
                if form == "stream"
                else client.json("/files", path=tree, include_content=True)["entries"]
            )
            assert {one["name"]: one.get("content_skipped") for one in found} == {
                "fits": None,
                "over": "too_large",
                "after": None,
            }


def test_directories_have_no_content(client: Client, small: Path) -> None:
    for one in client.entries(path=small, include_content=True, include_hash=True):
        if one["type"] != "file":
            assert not {"content", "content_skipped", "hash"} & set(one)


def test_depth_stops_where_asked(client: Client, small: Path) -> None:
    assert {one["name"] for one in client.entries(path=small, max_depth=1)} == {
        one.name for one in small.iterdir()
    }
    told = client.json("/files", path=small, nested=True, max_depth=2)
    (a,) = [one for one in told["entries"] if one["name"] == "a"]
    (deep,) = [one for one in a["children"] if one["name"] == "deep"]
    assert deep["depth_limited"] is True
    assert "children" not in deep
    assert "depth_limited" not in a


def test_the_default_depth_is_20(client: Client, tree: Path) -> None:
    trees.build(tree, {"/".join(["d"] * 25) + "/": None})
    entries = client.entries(path=tree)
    assert len(entries) == 20
    assert [one for one in entries if one.get("depth_limited")] == [entries[-1]]


FILTERS: dict[str, tuple[Json, set[str]]] = {
    "path filter": ({"path_filter": "DEEP"}, {"a/deep", "a/deep/er", "a/deep/er/x.rs"}),
    "path filter spans": ({"path_filter": "deep/er/x"}, {"a/deep/er/x.rs"}),
    "path filter is relative": ({"path_filter": "/tree/"}, set()),
    "extension": ({"include_ext": "RS"}, {"a/deep/er/x.rs"}),
    "extensions": ({"include_ext": " .py , rs"}, {"a/inner.py", "a/deep/er/x.rs"}),
    "code": ({"code_files_only": True}, {"a/inner.py", "a/deep/er/x.rs"}),
    "all": ({"include_ext": "rs", "path_filter": "er/"}, {"a/deep/er/x.rs"}),
    "ignore a name": (
        {"ignore_patterns": "deep,*.txt, Z", "path_filter": "e"},
        {"empty", "a/inner.py", ".hidden"},
    ),
    "ignore anchored": ({"ignore_patterns": "/a,/Z,.*,*.txt"}, {"a-b", "empty"}),
    "ignore a path": (
        {"ignore_patterns": "a/deep/er,b.txt,Z,.hidden,a-b,empty/"},
        {"a", "a/inner.py", "a/deep"},
    ),
}


@pytest.mark.parametrize("case", FILTERS)
def test_filters_of_the_flat_forms(client: Client, small: Path, case: str) -> None:
    query, wanted = FILTERS[case]
    streamed = set(names(client.entries(path=small, use_gitignore=False, **query), small))
    told = client.json(
        "/files", path=small, nested=True, flatten=True, use_gitignore=False, **query
    )
    assert streamed == set(names(told["entries"], small)) == wanted
    assert told["count"] == len(wanted)


def test_a_filtered_tree_keeps_what_leads_to_a_match(client: Client, small: Path) -> None:
    told = client.json("/files", path=small, nested=True, include_ext="rs")
    assert names(list(flat(told["entries"])), small) == [
        "a", "a/deep", "a/deep/er", "a/deep/er/x.rs",
    ]  # fmt: skip
    assert told["count"] == 4


def test_a_malformed_glob_is_400(client: Client, small: Path) -> None:
    for pattern in ("a[", "b\\"):
        query = {"path": small, "ignore_patterns": pattern}
        told = client.failure("GET", "/files/stream", 400, query=query)
        assert "ignore_patterns" in told["error"]


CODE_NAMES = ("Dockerfile", "Makefile", "x.py", "x.ts", "x.json", "x.yaml", "x.toml", "x.SQL")
OTHER_NAMES = ("photo.png", "a.out", "README", "x.zip")


def test_code_files_include_names_such_as_dockerfile(client: Client, tree: Path) -> None:
    trees.build(tree, dict.fromkeys((*CODE_NAMES, *OTHER_NAMES), ""))
    found = {one["name"] for one in client.entries(path=tree, code_files_only=True)}
    assert found == set(CODE_NAMES)


def test_names_that_are_not_utf8_can_be_listed_by_what_the_listing_told(
    client: Client, tree: Path
) -> None:
    base = os.fsencode(tree)
    os.mkdir(base + b"/caf\xe9")
    for name in (b"line\nbreak", b'tab\t"quote\\', b"\xff\xfe"):
        Path(os.fsdecode(base + b"/caf\xe9/" + name)).write_bytes(b"x")
    (top,) = client.json("/files", path=tree)["entries"]
    assert top["name"] == "caf\ufffd"
    assert top["path_b64"] == b64(base + b"/caf\xe9")
    inner = client.entries(path_b64=top["path_b64"])
    found = {
        base64.urlsafe_b64decode(one["path_b64"] + "==")
        if "path_b64" in one
        else one["path"].encode()
        for one in inner
    }
    assert found == set(trees.everything(tree)) - {base + b"/caf\xe9"}


def test_every_answer_names_what_is_not_utf8(client: Client, tree: Path) -> None:
    place = os.fsencode(tree) + b"/\xff"
    os.mkdir(place)
    os.symlink(b"\xfe", place + b"/link")
    told = client.json("/files", path_b64=b64(place))
    start, link, _ = client.lines("/files/stream", path_b64=b64(place))
    shown = {"path": f"{tree}/\ufffd", "path_b64": b64(place)}
    assert {key: told[key] for key in shown} == {key: start[key] for key in shown} == shown
    for one in (link, *told["entries"]):
        assert one["path_b64"] == b64(place + b"/link")
        assert (one["symlink_target"], one["symlink_target_b64"]) == ("\ufffd", b64(b"\xfe"))


def test_what_vanishes_meanwhile_is_left_out_and_no_error(client: Client, tree: Path) -> None:
    for outer in range(20):
        trees.build(tree, {f"{outer:02}/{inner:02}": "" for inner in range(50)})
    remover = threading.Thread(target=shutil.rmtree, args=[tree])
    remover.start()
    try:
        while remover.is_alive():
            answer = client.get("/files", path=tree, nested=True, include_hash=True)
            if answer.status_code != 404:
                assert "errors" not in answer.json()
    finally:
        remover.join()


def test_an_entry_of_ascii_names_has_no_path_b64(client: Client, small: Path) -> None:
    assert all("path_b64" not in one for one in client.entries(path=small))


def test_five_thousand_levels(client: Client, tree: Path) -> None:
    trees.make_deep(tree, 5000)
    try:
        entries = client.entries(path=tree, max_depth=1000)
        assert len(entries) == 1000
        told = client.json("/files", path=tree, nested=True, flatten=True, max_depth=1000)
        assert told["count"] == 1000
    finally:
        trees.remove_deep(tree)


def test_pseudo_filesystems_are_listed_but_not_entered(client: Client) -> None:
    top = {
        one["name"]: one
        for one in client.json("/files", path="/", nested=True, max_depth=2)["entries"]
    }
    for name in ("proc", "sys"):
        assert top[name]["skipped"] == "pseudo_filesystem"
        assert not top[name].get("children")


PSEUDO = {
    "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs",
}  # fmt: skip


def pseudo_mounts() -> set[Path]:
    """Where these are mounted last, and can be seen."""
    mounts: dict[str, str] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mounts[before.split()[4]] = after.split()[0]
    return {
        Path(where)
        for where, kind in mounts.items()
        if kind in PSEUDO and where != "/" and "\\" not in where
    }


def test_every_pseudo_filesystem_is_listed_but_not_entered(client: Client) -> None:
    outer = {
        one
        for one in pseudo_mounts()
        if not any(one.is_relative_to(other) for other in pseudo_mounts() - {one})
    }
    assert Path("/proc") in outer
    for place in outer:
        found = by_path(client.entries(path=place.parent, max_depth=2, use_gitignore=False))
        assert found[str(place)]["skipped"] == "pseudo_filesystem"
        assert "depth_limited" not in found[str(place)]
        assert not any(one.startswith(f"{place}/") for one in found)


def test_devices_are_other(client: Client) -> None:
    found = {one["name"]: one for one in client.json("/files", path="/dev")["entries"]}
    assert (found["null"]["type"], found["zero"]["type"]) == ("other", "other")
    assert "children" not in found["null"]


def test_inside_a_pseudo_filesystem_it_is_entered(client: Client) -> None:
    entries = client.entries(path="/proc/self", max_depth=2)
    assert any(one["name"] == "status" for one in entries)


def test_the_default_path_is_the_root(client: Client) -> None:
    told = client.json("/files")
    assert told["path"] == "/"
    assert {one["path"] for one in told["entries"]} >= {"/etc", "/tmp"}


def test_a_capped_answer_is_chosen_breadth_first_and_says_so(client: Client, tree: Path) -> None:
    for outer in range(60):
        place = tree / f"d{outer:02}" / "inner"
        place.mkdir(parents=True)
        for number in range(1000):
            (place / f"f{number:03}").touch()
    query = {"path": tree, "nested": True, "flatten": True, "light": True}
    first, second = client.json("/files", **query), client.json("/files", **query)
    assert first == second
    assert first["count"] == len(first["entries"]) == 50_000
    assert first["truncated"] is True
    depth = {name.count("/") for name in names(first["entries"], tree)}
    assert depth == {0, 1, 2}
    assert sum(one["type"] == "directory" for one in first["entries"]) == 120
    nested = client.json("/files", path=tree, nested=True, light=True)
    assert list(flat(nested["entries"])) == first["entries"]
    assert nested["truncated"] is True
    assert len(client.entries(path=tree, light=True)) == 60_120


def test_a_cap_that_is_just_reached_cuts_nothing(tmp_path: Path, tree: Path) -> None:
    trees.build(tree, {"a/1": "", "a/2": "", "b/1": "", "c": ""})
    with serving(tmp_path / "server", "--listing-entries=6") as target, target.client() as client:
        for flatten in (False, True):
            told = client.json("/files", path=tree, nested=True, flatten=flatten)
            assert (told["count"], "truncated" in told) == (6, False)
        (tree / "d").touch()
        told = client.json("/files", path=tree, nested=True, flatten=True)
        assert (told["count"], told["truncated"]) == (6, True)
        assert names(told["entries"], tree) == ["a", "a/1", "a/2", "b", "c", "d"]
        told = client.json("/files", path=tree, nested=True)
        cut = [one["name"] for one in flat(told["entries"]) if one.get("truncated")]
        assert (told["count"], told["truncated"], cut) == (6, True, ["b"])
        assert len(client.entries(path=tree)) == 7


def test_every_key_of_an_entry_is_published(client: Client, tree: Path) -> None:
    trees.repository(tree, {"a/b/c.py": "x", "d": b"\0", ".gitignore": "["})
    (tree / "link").symlink_to("d")
    os.mkdir(os.fsencode(tree) + b"/\xff")
    document = client.json("/openapi.json")["components"]["schemas"]
    known = set(document["Entry"]["properties"])
    options = {"include_content": True, "include_hash": True, "include_extensions": True}
    for path in (tree, "/proc/self/attr", "/"):
        told = client.json("/files", path=path, nested=True, max_depth=2, **options)
        assert set(told) <= set(document["Listing"]["properties"])
        assert {key for one in flat(told["entries"]) for key in one} <= known


def test_git_directories_are_left_out_only_with_gitignore(client: Client, tree: Path) -> None:
    trees.repository(tree, {"a": "", ".gitignore": "b\n", "b": ""})
    found = set(names(client.entries(path=tree), tree))
    assert found == {"a", ".gitignore"}
    everything = set(names(client.entries(path=tree, use_gitignore=False), tree))
    assert {"b", ".git", ".git/HEAD"} <= everything


def test_hidden_files_are_listed(client: Client, small: Path) -> None:
    assert ".hidden" in names(client.entries(path=small), small)


def test_a_vanished_root_is_404(client: Client, tree: Path) -> None:
    tree.rmdir()
    client.failure("GET", "/files/stream", 404, query={"path": tree})


def test_the_stream_ignores_nested_and_flatten(client: Client, small: Path) -> None:
    plain = by_path(client.entries(path=small))
    assert by_path(client.entries(path=small, nested=False, flatten=False)) == plain

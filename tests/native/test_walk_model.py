"""All forms of a listing against each other and against `os`, on random trees and options.

Oracle: `os.scandir`, `hashlib`, and the choice of a capped answer written down as the contract
has it. The consumer pauses now and then, so that walks park and go on.
Source: wire contract, section 2, "List and stream".
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.native.test_walk import take, walk

NAMES = [
    b"a",
    b"b.py",
    b"B.PY",
    b".hid",
    b"caf\xe9.txt",
    b'q"\\.rs',
    b"line\nfeed",
    "ž.TXT".encode(),
    b"x.\xff",
    b"-",
    b"z" * 200,
]
CONTENTS = [b"", b"text\n", "žluť \u2028".encode(), b"nul\0", b"\xff\xfe", b'\x01"\\' * 30_000]

names = st.sampled_from(NAMES)
leaves = st.one_of(
    st.sampled_from(CONTENTS),
    st.just("fifo"),
    st.sampled_from([b"a", b"../x", b'\xff\n"']).map(lambda target: ("symlink", target)),
)
trees_of = st.recursive(
    leaves,
    lambda inner: st.dictionaries(names, inner, max_size=7),
    max_leaves=40,
)
options = st.fixed_dictionaries(
    {
        "light": st.booleans(),
        "include_hash": st.booleans(),
        "include_content": st.booleans(),
        "include_extensions": st.booleans(),
        "path_filter": st.sampled_from(["", "", "A", "b.p", "ž.t", "/"]),
        "include_ext": st.sampled_from([[], [], [], ["py"], [".TXT", "rs"]]),
        "max_depth": st.integers(1, 5),
        "entry_limit": st.one_of(st.just(50_000), st.integers(1, 12)),
    }
)


@dataclass
class Node:
    """An entry, by `os` alone."""

    path: bytes
    rel: bytes
    entry: os.DirEntry[bytes]
    matches: bool
    above: Node | None
    children: list[Node] = field(default_factory=list)

    @property
    def is_directory(self) -> bool:
        return self.entry.is_dir(follow_symlinks=False)


def build(place: bytes, spec: Any) -> None:
    if isinstance(spec, dict):
        os.mkdir(place)
        for name, inner in spec.items():
            build(place + b"/" + name, inner)
    elif isinstance(spec, tuple):
        os.symlink(spec[1], place)
    elif spec == "fifo":
        os.mkfifo(place)
    else:
        Path(os.fsdecode(place)).write_bytes(spec)


def extension(name: bytes) -> bytes | None:
    at = name.rfind(b".")
    return name[at:] if at > 0 else None


def seen(root: bytes, asked: dict[str, Any], above: Node | None = None) -> list[Node]:
    """What lies in a directory, sorted, each with what lies in it."""
    found = []
    place = above.path if above else root
    with os.scandir(place) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            rel = entry.path[len(root) + 1 :]
            text = rel.decode(errors="replace").lower()
            matches = asked["path_filter"].lower() in text
            if asked["include_ext"]:
                wanted = [one.lstrip(".").lower().encode() for one in asked["include_ext"]]
                own = (extension(entry.name) or b".\0")[1:].lower()
                matches &= own in wanted and not entry.is_dir(follow_symlinks=False)
            node = Node(entry.path, rel, entry, matches, above)
            if node.is_directory and rel.count(b"/") + 1 < asked["max_depth"]:
                node.children = seen(root, asked, node)
            found.append(node)
    return found


def preorder(nodes: list[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from preorder(node.children)


def chosen(top: list[Node], limit: int, *, leads: bool) -> tuple[set[bytes], bool]:
    """The paths that an answer holds, breadth-first, and whether it is capped."""
    kept: set[bytes] = set()
    level = top
    while level:
        for node in filter(lambda one: one.matches, level):
            new = {node.path}
            above = node.above
            while leads and above is not None:
                new.add(above.path)
                above = above.above
            if len(kept | new) > limit:
                return kept, True
            kept |= new
        level = [child for node in level for child in node.children]
    return kept, False


def path_of(entry: dict[str, Any]) -> bytes:
    if "path_b64" in entry:
        return base64.urlsafe_b64decode(entry["path_b64"] + "==")
    return str(entry["path"]).encode()


def check(entry: dict[str, Any], node: Node, asked: dict[str, Any]) -> None:
    """One entry, field by field."""
    told = os.lstat(node.path)
    is_file = node.entry.is_file(follow_symlinks=False)
    assert entry["name"] == node.entry.name.decode(errors="replace")
    kinds = {"directory": node.is_directory, "symlink": node.entry.is_symlink(), "file": is_file}
    assert entry["type"] == next((kind for kind, is_so in kinds.items() if is_so), "other")
    assert ("size" in entry) == ("modified" in entry) == (not asked["light"])
    if "size" in entry:
        assert entry["size"] == (0 if node.entry.is_symlink() else told.st_size)
    if node.entry.is_symlink():
        assert entry["symlink_target"] == os.readlink(node.path).decode(errors="replace")
    own = extension(node.entry.name) if asked["include_extensions"] else None
    assert entry.get("extension") == (own.decode(errors="replace") if own else None)
    content = Path(os.fsdecode(node.path)).read_bytes() if is_file else None
    digest = hashlib.sha256(content or b"").hexdigest()
    assert entry.get("hash") == (digest if is_file and asked["include_hash"] else None)
    if content is None or not asked["include_content"]:
        assert "content" not in entry
        assert "content_skipped" not in entry
    elif b"\0" in content or content.decode(errors="ignore").encode() != content:
        assert entry["content_skipped"] == "binary"
    else:
        assert entry["content"].encode() == content


def drain(root: bytes, form: str, asked: dict[str, Any], pauses: list[bool]) -> bytes:
    one = walk(Path(os.fsdecode(root)), form, **asked)
    told = b""
    number = 0
    while batch := take(one):
        if pauses[number % len(pauses)]:
            time.sleep(0.002)
        told += batch
        number += 1
    return told


def flattened(entries: list[dict[str, Any]], nodes: dict[bytes, Node]) -> list[dict[str, Any]]:
    """A tree's entries in pre-order; what it says of children is checked on the way."""
    found = []
    for entry in entries:
        found.append(entry)
        node = nodes[path_of(entry)]
        if not node.is_directory:
            assert "children" not in entry
        elif "children" not in entry:
            assert entry.get("depth_limited") or entry.get("truncated")
        found += flattened(entry.get("children", []), nodes)
    return found


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    spec=st.dictionaries(names, trees_of, max_size=8),
    asked=options,
    pauses=st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_all_forms_agree_with_the_tree(
    spec: dict[bytes, Any], asked: dict[str, Any], pauses: list[bool]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = os.fsencode(place) + b"/r"
        build(root, spec)
        top = seen(root, asked)
        nodes = {node.path: node for node in preorder(top)}
        matching = [node.path for node in preorder(top) if node.matches]

        lines = [json.loads(line) for line in drain(root, "stream", asked, pauses).splitlines()]
        assert [line.get("event") for line in lines[:: len(lines) - 1]] == ["start", "done"]
        entries = lines[1:-1]
        assert sorted(map(path_of, entries)) == sorted(matching)
        assert lines[-1]["count"] == len(matching)
        for entry in entries:
            check(entry, nodes[path_of(entry)], asked)

        for form in ("flat", "tree", "children"):
            answer = json.loads(drain(root, form, asked, pauses))
            leads = form == "tree"
            shown = (
                top if form != "children" else [Node(**{**vars(n), "children": []}) for n in top]
            )
            kept, capped = chosen(shown, asked["entry_limit"], leads=leads)
            found = flattened(answer["entries"], nodes) if leads else answer["entries"]
            assert [path_of(one) for one in found] == [path for path in nodes if path in kept]
            assert answer["count"] == len(found)
            assert answer.get("truncated", False) == capped
            assert "errors" not in answer
            for entry in found:
                check(entry, nodes[path_of(entry)], asked)

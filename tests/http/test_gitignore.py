"""`use_gitignore`: what a listing hides is what git hides.

Oracle: `git ls-files -co --exclude-standard -z`, over named cases and over Hypothesis-made
trees. Source: wire contract, section 2; gitignore(5).
"""

from __future__ import annotations

import base64
import os
import shutil
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import trees
from tests.client import Client, b64
from tests.serving import serving


def listed_files(client: Client, root: Path, **query: object) -> set[bytes]:
    """Paths relative to `root` of everything in a stream but directories."""
    entries = client.entries(path_b64=b64(os.fsencode(root)), max_depth=1000, **query)
    base = os.fsencode(root) + b"/"
    return {path_of(one).removeprefix(base) for one in entries if one["type"] != "directory"}


def path_of(entry: dict[str, str]) -> bytes:
    if "path_b64" in entry:
        return base64.urlsafe_b64decode(entry["path_b64"] + "==")
    return entry["path"].encode()


FILES = ("a.txt", "b.log", "dir/a.txt", "dir/b.log", "dir/sub/c.log", "build/out", "x/build/out")

CASES: dict[str, trees.Spec] = {
    "nothing": {},
    "a name": {".gitignore": "a.txt\n"},
    "an ending": {".gitignore": "*.log\n"},
    "anchored": {".gitignore": "/a.txt\n/dir/b.log\n"},
    "a middle slash anchors": {".gitignore": "dir/a.txt\nsub/c.log\n"},
    "directories only": {".gitignore": "build/\n"},
    "negated": {".gitignore": "*.log\n!b.log\n"},
    "negated below": {".gitignore": "*.log\n", "dir/.gitignore": "!b.log\n"},
    "no way back from an ignored directory": {".gitignore": "dir/\n!dir/a.txt\n"},
    "contents of a directory": {".gitignore": "dir/*\n!dir/sub/\n"},
    "double star before": {".gitignore": "**/c.log\n"},
    "double star after": {".gitignore": "dir/**\n"},
    "double star between": {".gitignore": "dir/**/c.log\nx/**/out\n"},
    "braces are literal": {".gitignore": "{a,b}.*\n", "{a,b}.txt": "", "{a,b}.x": ""},
    "empty braces": {".gitignore": "*.txt{}\n"},
    "class": {".gitignore": "[ab].*\n"},
    "negated class": {".gitignore": "[!a].*\n[^a]uild\n"},
    "range": {".gitignore": "[a-b].[l-t]*\n"},
    "posix class": {".gitignore": "[[:digit:]].log\n", "1.log": "", "d.log": ""},
    "unclosed class hides nothing": {".gitignore": "[ab.txt\n", "[ab.txt": ""},
    "class with slash": {".gitignore": "dir[/]a.txt\n"},
    "question mark": {".gitignore": "?.txt\n", "é.txt": ""},
    "star and slash": {".gitignore": "dir/*.log\n*/*/c.*\n"},
    "escaped hash": {".gitignore": "\\#a\n#b\n", "#a": "", "#b": ""},
    "escaped mark": {".gitignore": "\\!a\n", "!a": ""},
    "escaped star": {".gitignore": "\\*.log\n", "*.log": ""},
    "trailing blanks": {".gitignore": "a.txt  \nb.log\\ \n", "b.log ": ""},
    "carriage return": {".gitignore": "a.txt\r\nb.log\r\n"},
    "no newline at the end": {".gitignore": "a.txt"},
    "byte order mark": {".gitignore": b"\xef\xbb\xbfa.txt\n"},
    "blank lines": {".gitignore": "\n\n  \na.txt\n"},
    "only a slash": {".gitignore": "/\n"},
    "trailing backslash": {".gitignore": "a.txt\\\nb.log\n"},
    "bytes that are no text": {".gitignore": b"\xff*\nb.log\n"},
    "exclude file": {".git/info/exclude": "*.log\n"},
    "gitignore over exclude": {".git/info/exclude": "*.log\n", ".gitignore": "!b.log\n"},
    "last rule wins": {".gitignore": "a.txt\n!a.txt\n*.txt\n"},
    "nested rules": {"dir/.gitignore": "/a.txt\nsub/\n", ".gitignore": "b.log\n"},
    "all but": {".gitignore": "*\n!*/\n!*.txt\n"},
    "a rules file that is a directory": {".gitignore/x": "a.txt\n"},
    "upper case": {".gitignore": "A.TXT\n*.LOG\n"},
    "many": {".gitignore": "".join(f"n{number}/*.x{number}\n" for number in range(10_000)) + "*.log\n"},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_listing_shows_what_git_shows(client: Client, tree: Path, case: str) -> None:
    trees.git(trees.build(tree, dict.fromkeys(FILES, "")), "init", "-q")
    trees.build(tree, CASES[case])
    assert listed_files(client, tree) == trees.git_visible(tree)


@pytest.mark.parametrize("case", CASES)
def test_the_list_forms_agree_with_the_stream(client: Client, tree: Path, case: str) -> None:
    trees.git(trees.build(tree, dict.fromkeys(FILES, "")), "init", "-q")
    trees.build(tree, CASES[case])
    told = client.json("/files", path=tree, nested=True, flatten=True)
    streamed = {path_of(one) for one in client.entries(path=tree)}
    assert {path_of(one) for one in told["entries"]} == streamed


@pytest.mark.parametrize("case", CASES)
def test_tracked_files_are_never_hidden(client: Client, tree: Path, case: str) -> None:
    trees.git(trees.build(tree, dict.fromkeys(FILES, "")), "init", "-q")
    trees.git(tree, "add", "-f", "b.log", "dir/sub/c.log", "x/build/out")
    trees.build(tree, CASES[case])
    assert listed_files(client, tree) == trees.git_visible(tree)


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_each_version_of_the_index_is_read(client: Client, tree: Path, version: str) -> None:
    trees.repository(tree, {**dict.fromkeys(FILES, ""), ".gitignore": "*\n"})
    trees.git(tree, "-c", f"index.version={version}", "add", "-f", "b.log", "dir/sub/c.log")
    trees.git(tree, "update-index", f"--index-version={version}")
    assert listed_files(client, tree) == {b"b.log", b"dir/sub/c.log"} == trees.git_visible(tree)


def test_an_index_that_changes_is_read_again(client: Client, tree: Path) -> None:
    trees.repository(tree, {"a.log": "", "b.log": "", ".gitignore": "*.log\n"})
    assert listed_files(client, tree) == {b".gitignore"}
    trees.git(tree, "add", "-f", "a.log")
    assert listed_files(client, tree) == {b".gitignore", b"a.log"}
    trees.git(tree, "rm", "-q", "--cached", "a.log")
    assert listed_files(client, tree) == {b".gitignore"}


def test_an_index_that_cannot_be_read_leaves_the_rules_and_says_so(
    client: Client, tree: Path
) -> None:
    trees.repository(tree, {"a.log": "", "b": "", ".gitignore": "*.log\n"})
    (tree / ".git" / "index").write_bytes(b"DIRC nonsense")
    lines = client.lines("/files/stream", path=tree)
    found = {one["name"] for one in lines if "event" not in one}
    assert found == {"b", ".gitignore"}
    told = [one for one in lines if one.get("event") in ("start", "warning")]
    assert "index" in str([one for one in told if "warnings" in one or one["event"] == "warning"])


def test_rules_that_change_are_read_again(client: Client, tree: Path) -> None:
    trees.repository(tree, {"a": "", "b": "", ".gitignore": "a\n"})
    assert listed_files(client, tree) == {b"b", b".gitignore"}
    (tree / ".gitignore").write_text("b\n")
    assert listed_files(client, tree) == {b"a", b".gitignore"}


def test_rules_above_the_listed_path_hold(client: Client, tree: Path) -> None:
    trees.repository(tree, {".gitignore": "*.log\n/in/x\n", "in/a.log": "", "in/x": "", "in/y": ""})
    assert listed_files(client, tree / "in") == {b"y"}


def test_a_listed_directory_that_is_ignored_is_listed(client: Client, tree: Path) -> None:
    trees.repository(
        tree, {".gitignore": "out/\n*.log\n", "out/a.log": "", "out/b": "", "out/in/c": ""}
    )
    trees.build(tree, {"out/.gitignore": "b\n"})
    assert listed_files(client, tree / "out") == {b"a.log", b"in/c", b".gitignore"}
    assert listed_files(client, tree / "out" / "in") == {b"c"}


def test_outside_a_repository_rules_at_and_below_hold(client: Client, tree: Path) -> None:
    trees.build(
        tree,
        {
            ".gitignore": "*.log\n",
            "in/.gitignore": "x\n",
            "in/x": "",
            "in/a.log": "",
            "in/y": "",
            "a.log": "",
        },
    )
    assert listed_files(client, tree) == {b".gitignore", b"in/.gitignore", b"in/y"}
    assert listed_files(client, tree / "in") == {b".gitignore", b"a.log", b"y"}


def test_a_nested_repository_has_its_own_rules(client: Client, tree: Path) -> None:
    trees.repository(tree, {".gitignore": "*.log\n", "a.log": "", "b": ""})
    inner = trees.repository(tree / "inner", {".gitignore": "b\n", "a.log": "", "b": ""})
    assert listed_files(client, tree) == {
        b".gitignore", b"b", b"inner/.gitignore", b"inner/a.log",
    }  # fmt: skip
    assert listed_files(client, inner) == trees.git_visible(inner)


def test_a_git_file_marks_a_repository_too(client: Client, tree: Path) -> None:
    main = trees.repository(tree / "main", {"a": ""})
    trees.git(main, "add", "a")
    trees.git(main, "commit", "-q", "-m", "a")
    trees.git(main, "worktree", "add", "-q", "../side")
    side = trees.build(tree / "side", {".gitignore": "*.log\n", "x.log": "", "y.tmp": ""})
    trees.build(main, {".git/info/exclude": "*.tmp\n"})
    assert listed_files(client, side) == trees.git_visible(side) == {b"a", b".gitignore"}


def test_a_link_into_a_repository_follows_its_rules(client: Client, tree: Path) -> None:
    trees.repository(tree / "r", {".gitignore": "*.log\n", "in/a.log": "", "in/b": ""})
    (tree / "link").symlink_to("r/in")
    assert listed_files(client, tree / "link") == {b"b"}


def test_a_rules_file_that_is_a_link_or_a_fifo_is_not_read(client: Client, tree: Path) -> None:
    trees.repository(tree, {"rules": "a\n", "a": "", "in/a": ""})
    (tree / ".gitignore").symlink_to("rules")
    trees.make_fifo(tree / "in" / ".gitignore")
    assert b"a" in listed_files(client, tree)
    assert b"in/a" in listed_files(client, tree)


def test_patterns_of_the_caller_hide_tracked_files_too(client: Client, tree: Path) -> None:
    trees.repository(tree, {"a.log": "", "b": ""})
    trees.git(tree, "add", ".")
    assert listed_files(client, tree, ignore_patterns="*.log") == {b"b"}


def test_the_users_global_excludes_hold(tmp_path: Path, tree: Path) -> None:
    trees.repository(tree, {"a.log": "", "b.tmp": "", "c": "", ".gitignore": "!a.log\n"})
    home = trees.build(tmp_path / "home", {".config/git/ignore": "*.log\n*.tmp\n"})
    environment = {"HOME": str(home), "XDG_CONFIG_HOME": ""}
    with serving(tmp_path / "server", environment=environment) as target, target.client() as client:
        assert listed_files(client, tree) == {b".gitignore", b"a.log", b"c"}
        trees.build(home, {".gitconfig": "[core]\n\texcludesFile = ~/mine\n", "mine": "c\n"})
        assert listed_files(client, tree) == {b".gitignore", b"a.log", b"b.tmp"}


NAMES = st.sampled_from(["a", "b", "ab", "a.b", "b.log", "a b", "#a", "!b", "{a,b}", "1", "é"])
ATOMS = st.sampled_from(
    ["a", "b", "*", "**", "?", "[ab]", "[!a]", "[[:alpha:]]", "{a,b}", ".log", "\\a", "1", "é", " "]
)
PIECES = st.lists(ATOMS, min_size=1, max_size=3).map("".join)
PATTERNS = st.builds(
    lambda mark, lead, pieces, tail: mark + lead + "/".join(pieces) + tail,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", "/**", " "]),
)
RULES = st.lists(PATTERNS, min_size=1, max_size=4).map(lambda lines: "\n".join(lines) + "\n")
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    files=st.sets(PATHS, min_size=1, max_size=12),
    rules=st.dictionaries(st.sampled_from(["", "a/", "b/", "a/b/"]), RULES, max_size=3),
    exclude=st.one_of(st.just(""), RULES),
    tracked=st.integers(0, 3),
)
def test_made_trees_show_what_git_shows(
    client: Client,
    tmp_path: Path,
    files: set[str],
    rules: dict[str, str],
    exclude: str,
    tracked: int,
) -> None:
    root = tmp_path / uuid.uuid4().hex
    root.mkdir()
    try:
        made = [name for name in sorted(files) if place_file(root, name)]
        trees.git(root, "init", "-q")
        if made[:tracked]:
            trees.git(root, "add", "-f", "--", *(f":(literal){name}" for name in made[:tracked]))
        for directory, text in rules.items():
            if (root / directory).is_dir():
                (root / directory / ".gitignore").write_text(text)
        (root / ".git" / "info" / "exclude").write_text(exclude)
        assert listed_files(client, root) == trees.git_visible(root)
    finally:
        shutil.rmtree(root)


def place_file(root: Path, name: str) -> bool:
    """Makes the file unless a file stands where its directory should, or the reverse."""
    try:
        trees.build(root, {name: ""})
    except OSError:
        return False
    return True

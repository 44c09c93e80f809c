"""`GET /files/search`: what matches, how it is told, what cannot be.

The oracle is ripgrep on the command line. Source: wire contract, section 3; reference, "Search".
"""

from __future__ import annotations

import base64
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import searching, trees
from tests.client import Client, Json, b64
from tests.serving import serving
from tests.watching import wait_until

SPEC: trees.Spec = {
    "server.go": "package a\n\nfunc handleRequest(w, r) {\n\thandleRequest(w, r)\n}\n",
    "src/router.go": "x := handleRequest // Handlerequest\n",
    "src/notes.txt": "prehandleRequests\r\nHANDLEREQUEST\r\n",
    ".hidden": "handleRequest\n",
    ".dir/inner": "handleRequest\n",
    "empty": "",
    "binary": b"\0\1\2handleRequest\n",
    "last": "no end: handleRequest",
}


@pytest.fixture
def place(tree: Path) -> Path:
    return trees.build(tree, SPEC)


def search(client: Client, path: Path, q: str, **rest: object) -> Json:
    return client.json("/files/search", q=q, path=path, **rest)


def test_the_documented_answer(client: Client, place: Path) -> None:
    told = search(client, place, "handleRequest", case_sensitive=True)
    assert told.pop("matches")
    assert told == {
        "success": True,
        "query": "handleRequest",
        "path": str(place),
        "base": str(place),
        "results": {
            "last": [{"line": 1, "column": 9, "text": "no end: handleRequest"}],
            "server.go": [
                {"line": 3, "column": 6, "text": "func handleRequest(w, r) {"},
                {"line": 4, "column": 2, "text": "\thandleRequest(w, r)"},
            ],
            "src/notes.txt": [{"line": 1, "column": 4, "text": "prehandleRequests"}],
            "src/router.go": [
                {"line": 1, "column": 6, "text": "x := handleRequest // Handlerequest"}
            ],
        },
        "total_matches": 5,
        "total_files": 4,
        "capped": False,
    }
    assert list(told["results"]) == sorted(told["results"], key=str.encode)


def found(told: Json) -> set[tuple[str, int]]:
    return {(path, one["line"]) for path, ones in told["results"].items() for one in ones}


CHOICES: dict[str, tuple[str, dict[str, object], set[tuple[str, int]]]] = {
    "any case": ("HANDLErequest", {}, {("last", 1), ("server.go", 3), ("server.go", 4),
        ("src/notes.txt", 1), ("src/notes.txt", 2), ("src/router.go", 1)}),
    "case": ("HANDLEREQUEST", {"case_sensitive": True}, {("src/notes.txt", 2)}),
    "words": ("handlerequest", {"whole_word": True}, {("last", 1), ("server.go", 3),
        ("server.go", 4), ("src/notes.txt", 2), ("src/router.go", 1)}),
    "literal": ("t(w, r)", {}, {("server.go", 3), ("server.go", 4)}),
    "no regex": ("handle.*", {}, set()),
    "regex": (r"^func\s+\w+", {"regex": True}, {("server.go", 3)}),
    "line end": (r"SS$", {"regex": True}, set()),
    "types": ("handlerequest", {"file_types": "txt,.GO"}, {("server.go", 3), ("server.go", 4),
        ("src/notes.txt", 1), ("src/notes.txt", 2), ("src/router.go", 1)}),
    "one type": ("handlerequest", {"file_types": " Txt ,"}, {("src/notes.txt", 1),
        ("src/notes.txt", 2)}),
    "no such type": ("handlerequest", {"file_types": "rs"}, set()),
    "an option": ("--pre=./x", {}, set()),
    "another": ("-f./secret", {}, set()),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_parameters_choose(client: Client, place: Path, name: str) -> None:
    query, rest, wanted = CHOICES[name]
    assert found(search(client, place, query, **rest)) == wanted


def test_a_query_that_looks_like_an_option_is_looked_for(client: Client, tree: Path) -> None:
    trees.build(tree, {"a": "x --pre=./x y\n", "b": "-f./secret\n", "-": "-e\n", "--help": "-e\n"})
    assert found(search(client, tree, "--pre=./x")) == {("a", 1)}
    assert found(search(client, tree, "-f./secret")) == {("b", 1)}
    assert found(search(client, tree, "-e")) == {("-", 1), ("--help", 1)}


def test_hidden_files_only_where_asked(client: Client, place: Path) -> None:
    paths = set(search(client, place, "handlerequest", include_hidden=True)["results"])
    assert {".hidden", ".dir/inner"} < paths
    assert not {".hidden", ".dir/inner"} & set(search(client, place, "handlerequest")["results"])
    # Who names it wants it.
    assert set(search(client, place / ".dir", "handlerequest")["results"]) == {"inner"}


def test_context_is_what_stands_around(client: Client, tree: Path) -> None:
    lines = [f"line {n}" + (" match" if n in (1, 5, 6, 12) else "") for n in range(1, 13)]
    (tree / "a").write_text("\r\n".join(lines))
    for count in (1, 2, 10):
        for one in search(client, tree, "match", context_lines=count)["results"]["a"]:
            at = one["line"] - 1
            assert one["before"] == lines[max(0, at - count) : at], count
            assert one["after"] == lines[at + 1 : at + 1 + count], count
    assert "before" not in search(client, tree, "match")["results"]["a"][0]


def test_long_context_is_cut_and_says_so(client: Client, tree: Path) -> None:
    long = "é" * 3000
    (tree / "a").write_text(f"{long}\nword\nx\nword\n{long}\n")
    first, last = search(client, tree, "word", context_lines=1)["results"]["a"]
    assert first["before"] == [long[:2000]]
    assert last["after"] == [long[:2000]]
    assert first["context_truncated"] is last["context_truncated"] is True
    assert "text_truncated" not in first
    plain = search(client, tree, "x", context_lines=1)["results"]["a"][0]
    assert "context_truncated" not in plain


def test_one_entry_for_a_line_at_its_first_column(client: Client, tree: Path) -> None:
    (tree / "a").write_text("ž ab ab\n")
    assert search(client, tree, "ab")["results"] == {
        "a": [{"line": 1, "column": 4, "text": "ž ab ab"}]
    }


@pytest.mark.parametrize(("most", "total", "capped"), [(1, 1, True), (6, 6, False), (5, 5, True)])
def test_max_results_caps_and_says_so(
    client: Client, place: Path, most: int, total: int, capped: bool
) -> None:
    told = search(client, place, "handlerequest", max_results=most)
    assert (told["total_matches"], told["capped"]) == (total, capped)
    assert sum(map(len, told["results"].values())) == total
    assert told["total_files"] == len(told["results"])
    assert told.get("capped_by") == ("max_results" if capped else None)


def test_the_flat_list_is_there_up_to_a_thousand(client: Client, tree: Path) -> None:
    (tree / "a").write_text("match\n" * 1001)
    told = search(client, tree, "match", max_results=1000)
    flat = [{"path": "a", "line_number": n, "text": "match"} for n in range(1, 1001)]
    assert told["matches"] == flat
    assert "matches" not in search(client, tree, "match", max_results=1001)


def test_long_lines_are_cut_around_the_match(client: Client, tree: Path) -> None:
    for name, lead in {"near": 3000, "far": 400_000, "start": 0}.items():
        (tree / name).write_text("x\n" + "ž" * lead + "MATCH" + "y" * 5000 + "\nMATCH\n")
    for name, lead in {"near": 3000, "far": 400_000, "start": 0}.items():
        first, second = search(client, tree / name, "MATCH")["results"][name]
        assert (first["line"], first["column"]) == (2, 2 * lead + 1)
        assert first["text_truncated"] is True
        assert len(first["text"]) == 2000
        assert "ž" * min(lead, 500) + "MATCH" + "y" * 1000 in first["text"]
        assert second == {"line": 3, "column": 1, "text": "MATCH"}


def test_a_line_of_many_matches_is_one_entry(client: Client, tree: Path) -> None:
    (tree / "a").write_text("ab" * 2_000_000)
    (one,) = search(client, tree, "ab", timeout=60)["results"]["a"]
    assert (one["line"], one["column"], len(one["text"])) == (1, 1, 2000)


def test_what_is_not_utf8_is_replaced_and_lost_nowhere(client: Client, tree: Path) -> None:
    root = os.fsencode(tree)
    for name in (b"caf\xe9", b"caf\xe8"):
        Path(os.fsdecode(root + b"/" + name)).write_bytes(b"\xff match \xe9\n")
    told = search(client, tree, "match")
    assert list(told["results"]) == ["caf\ufffd"]
    assert told["total_files"] == 2
    ones = told["results"]["caf\ufffd"]
    assert {one["path_b64"] for one in ones} == {b64(b"caf\xe9"), b64(b"caf\xe8")}
    for one in ones:
        assert (one["text"], one["lossy"], one["column"]) == ("\ufffd match \ufffd", True, 3)
        path = base_and(told, one["path_b64"])
        assert set(client.json("/files/search", q="match", path_b64=path)["results"]) == {
            "caf\ufffd"
        }
    assert [one["path_b64"] for one in told["matches"]] == [one["path_b64"] for one in ones]


def base_and(told: Json, name: str) -> str:
    raw = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4))
    return b64(os.fsencode(told["base"]) + b"/" + raw)


def test_a_file_is_searched_by_its_name(client: Client, place: Path) -> None:
    trees.build(place, {".gitignore": "*.go\n"})
    trees.git(place, "init", "-q")
    told = search(client, place / "src/router.go", "handlerequest", ignore_patterns="*")
    assert (told["base"], told["path"]) == (str(place / "src"), str(place / "src/router.go"))
    assert set(told["results"]) == {"router.go"}
    assert set(search(client, place / ".hidden", "handlerequest")["results"]) == {".hidden"}


# --- what is seen ----------------------------------------------------------------------------------


def listed(client: Client, root: Path, *, hidden: bool, **rest: object) -> set[str]:
    """The files of the listing, less hidden ones."""
    entries = client.entries(path=root, light=True, **rest)
    names = {os.path.relpath(one["path"], root) for one in entries if one["type"] == "file"}
    return {one for one in names if hidden or not any(p.startswith(".") for p in one.split("/"))}


def searched(client: Client, root: Path, **rest: object) -> set[str]:
    return set(search(client, root, "word", max_results=1_000_000, **rest)["results"])


RULED: trees.Spec = {
    ".gitignore": "# word\n*.o\n/build/\n!keep.o\n{a,b}.txt\n[[:digit:]].log\nodd\\ name\nforced/\n*.tmp \n",
    "a.txt": "word",
    "b.o": "word",
    "keep.o": "word",
    "{a,b}.txt": "word",
    "1.log": "word",
    "x.log": "word",
    "odd name": "word",
    "tracked.o": "word",
    "build/out": "word",
    "build/tracked": "word",
    "forced/in/deep": "word",
    "forced/in/tracked": "word",
    "sub/.gitignore": "# word\n!b.o\nlocal\n",
    "sub/b.o": "word",
    "sub/local": "word",
    "sub/below/local": "word",
    "nested/.gitignore": "# word\n*.txt\n",
    "nested/a.txt": "word",
    "nested/b.o": "word",
    ".hid/x": "word",
    ".hid/y.o": "word",
    "trailing.tmp": "word",
    "trail.tmp ": "word",
    "we[i]rd/*?.o": "word",
    "we[i]rd/x": "word",
    "caf\udce9.o": "word",
    "caf\udce9": "word",
    ".ignore": "word\nx.log\n",
    ".rgignore": "word\nx.log\n",
}


@pytest.fixture
def ruled(tree: Path) -> Path:
    trees.repository(tree, RULED)
    (tree / ".git/info").mkdir(exist_ok=True)
    (tree / ".git/info/exclude").write_text("1.log\n")
    (tree / ".git/word").write_text("word")
    trees.git(tree / "nested", "init", "-q")
    trees.git(tree, "add", "-f", "tracked.o", "build/tracked", "forced/in/tracked")
    return tree


VIEWS: list[dict[str, object]] = [
    {},
    {"ignore_patterns": "*.log,sub"},
    {"ignore_patterns": "/sub/below,!b.o"},
]


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("rules", [False, True])
def test_it_sees_what_a_listing_sees(
    client: Client, ruled: Path, rules: bool, hidden: bool, view: dict[str, object]
) -> None:
    wanted = listed(client, ruled, hidden=hidden, use_gitignore=rules, **view)
    names = searched(client, ruled, no_gitignore=not rules, include_hidden=hidden, **view)
    if not rules:
        git = {one for one in wanted if ".git/" in one}
        wanted = wanted - git | (git & {".git/word"})
    assert names == wanted
    assert len(wanted) > 5


def test_a_listed_directory_that_is_ignored_is_searched(client: Client, ruled: Path) -> None:
    assert searched(client, ruled / "build") == {"out", "tracked"}
    assert searched(client, ruled / "forced/in") == {"deep", "tracked"}
    assert "build/out" not in searched(client, ruled)
    assert {"build/tracked", "forced/in/tracked", "tracked.o"} < searched(client, ruled)


def test_git_s_own_files_are_seen_only_without_rules(client: Client, ruled: Path) -> None:
    assert ".git/word" not in searched(client, ruled, include_hidden=True)
    assert ".git/word" in searched(client, ruled, include_hidden=True, no_gitignore=True)


def test_a_worktree_s_git_file_is_not_seen(client: Client, tree: Path) -> None:
    trees.build(tree, {".git": "gitdir: word\n", "a": "word"})
    assert searched(client, tree, include_hidden=True) == {"a"}


def test_types_do_not_bring_back_what_is_ignored(client: Client, ruled: Path) -> None:
    assert searched(client, ruled, file_types="o") == {
        "keep.o",
        "tracked.o",
        "sub/b.o",
        "nested/b.o",
    }


def test_thousands_of_ignored_files_beside_few(client: Client, tree: Path) -> None:
    spec = {f"{'long' * 20}{n}.o": "word" for n in range(3000)} | {
        f"{n}.c": "word" for n in range(300)
    }
    trees.repository(tree, {**spec, ".gitignore": "*.o\n"})
    assert searched(client, tree) == {f"{n}.c" for n in range(300)}


def test_links_are_not_followed_and_special_files_not_opened(client: Client, tree: Path) -> None:
    trees.build(tree, {"a/file": "word", "outside/x": "word"})
    (tree / "a/link").symlink_to("file")
    (tree / "a/dir").symlink_to("../outside")
    trees.make_fifo(tree / "a/fifo")
    assert searched(client, tree / "a") == {"file"}
    (tree / "to").symlink_to("a")
    assert searched(client, tree / "to") == {"file"}


def test_pseudo_file_systems_are_not_entered(client: Client, tree: Path) -> None:
    told = search(client, Path("/proc/self/task"), "nothing-such-here", timeout=20)
    assert told["results"] == {}


NAMES = st.text("ab.o[]*{}! \\-é", min_size=1, max_size=5).filter(lambda one: one.strip(".") != "")
LINES = st.lists(st.text("abAB é\t\r\x80", max_size=8), max_size=6)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), LINES.map("\n".join), max_size=8
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=TREES, query=st.sampled_from(["a", "ab", "B a", "é", "^a", "b$", r"\bb", "a.", "[ab]{2}"]),
       case=st.booleans(), regex=st.booleans(), word=st.booleans())  # fmt: skip
def test_matches_are_ripgrep_s(
    client: Client, spec: dict[str, str], query: str, case: bool, regex: bool, word: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for path, text in spec.items():
            above = [one for one in (root / path).parents if one != root]
            if not (root / path).is_dir() and not any(one.is_file() for one in above):
                trees.build(root, {path: text})
        words = ["--no-ignore", "--hidden", "-s" if case else "-i", *([] if regex else ["-F"])]
        wanted = searching.hits(root, *words, *(["-w"] if word else []), "-e", query)
        told = search(
            client, root, query, case_sensitive=case, regex=regex, whole_word=word,
            no_gitignore=True, include_hidden=True, max_results=1000,
        )  # fmt: skip
    ours = {
        (path, one["line"], one["column"], one["text"])
        for path, ones in told["results"].items()
        for one in ones
    }
    assert ours == {(one.path.decode(), one.line, one.column, one.text.decode()) for one in wanted}


# --- what cannot be --------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, str]] = {
    "no query": ("", "q"),
    "an empty one": ("q=", "q"),
    "1,001 characters": ("q=" + "x" * 1001, "q"),
    "NUL": ("q=a%00b", "q"),
    "a line end": ("q=a%0Ab", "q"),
    "not UTF-8": ("q=%FF", "q"),
    "context": ("q=x&context_lines=11", "context_lines"),
    "negative context": ("q=x&context_lines=-1", "context_lines"),
    "no results": ("q=x&max_results=0", "max_results"),
    "a million and one": ("q=x&max_results=1000001", "max_results"),
    "no time": ("q=x&timeout=0", "timeout"),
    "an hour": ("q=x&timeout=3600", "timeout"),
    "a type with a blank": ("q=x&file_types=a%20b", "file_types"),
    "a type with a dot": ("q=x&file_types=tar.gz", "file_types"),
    "a type with a star": ("q=x&file_types=*", "file_types"),
    "a type like an option": ("q=x&file_types=--pre=.%2Fx", "file_types"),
    "a glob": ("q=x&ignore_patterns=%5Ba", "ignore_patterns"),
    "a relative path": ("q=x&path=a/b", "path"),
}


@pytest.mark.parametrize("endpoint", ["/files/search", "/files/search/stream"])
@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_400_and_named(client: Client, tree: Path, name: str, endpoint: str) -> None:
    query, parameter = REFUSED[name]
    rest = "" if "path=" in query else f"&path={tree}"
    told = client.failure("GET", endpoint, 400, query=query + rest)
    assert told["code"] == "bad_request"
    assert told["error"].startswith(f"{parameter}:")


def test_a_thousand_characters_are_taken(client: Client, tree: Path) -> None:
    (tree / "a").write_text("é" * 1000)
    assert found(search(client, tree, "é" * 1000)) == {("a", 1)}


@pytest.mark.parametrize("endpoint", ["/files/search", "/files/search/stream"])
@pytest.mark.parametrize("spec", [{"a": "x"}, {}], ids=["a file", "nothing there"])
def test_a_bad_expression_is_400_in_ripgrep_s_words(
    client: Client, tree: Path, spec: trees.Spec, endpoint: str
) -> None:
    trees.build(tree, spec)
    query: dict[str, object] = {"q": "(foo", "regex": True, "path": tree}
    told = client.failure("GET", endpoint, 400, query=query)
    assert "unclosed group" in told["error"]
    assert "(foo" in told["error"]


PLACES = {"missing": 404, "fifo": 400, "file/below": 400, "loop": 400}


@pytest.mark.parametrize("name", PLACES)
def test_what_cannot_be_searched(client: Client, tree: Path, name: str) -> None:
    trees.build(tree, {"file": "x"})
    trees.make_fifo(tree / "fifo")
    (tree / "loop").symlink_to("loop")
    for endpoint in ("/files/search", "/files/search/stream"):
        query: dict[str, object] = {"q": "x", "path": tree / name}
        assert str(tree) in client.failure("GET", endpoint, PLACES[name], query=query)["error"]


def test_files_that_vanish_are_no_error(client: Client, tree: Path) -> None:
    trees.build(tree, {f"{n}/file": "word\n" for n in range(300)} | {"kept": "word\n"})
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            for n in range(300):
                (tree / f"{n}/file").unlink(missing_ok=True)
                (tree / f"{n}").rmdir()
                trees.build(tree, {f"{n}/file": "word\n"})

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(10):
            told = search(client, tree, "word", max_results=1000)
            assert "kept" in told["results"]
            assert "errors" not in told
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("size", "memory"),
    [
        (100 * 2**20, 64 * 2**20),
        pytest.param(2 * 2**30, 2**30, marks=pytest.mark.slow),
    ],
    ids=["100 MB", "2 GB"],
)
def test_a_line_that_is_too_long_for_memory_is_told_and_all_others_are_found(
    tmp_path: Path, tree: Path, size: int, memory: int
) -> None:
    trees.build(tree, {f"d{n:02}/f{i}": "word\n" * 3 for n in range(30) for i in range(5)})
    trees.build(tree, {f"d15/n{n}": "word\n" for n in range(2500)})
    with (tree / "d15/huge").open("wb") as file:
        for _ in range(size // 2**20):
            file.write(b"x" * 2**20)
        file.write(b"word")
    with serving(tmp_path / "own", f"--search-memory-bytes={memory}") as target:
        with target.client() as client:
            told = search(client, tree, "word", max_results=10_000, timeout=60)
            assert [one["path"] for one in told["errors"]] == [str(tree / "d15/huge")]
            assert "signal" in told["errors"][0]["error"]
            assert (told["total_matches"], told["total_files"]) == (2950, 2650)
            assert {len(ones) for ones in told["results"].values()} == {1, 3}
            lines = client.lines("/files/search/stream", q="word", path=tree)
            assert len({(one.get("path"), one.get("line")) for one in lines[1:-2]}) == 2950
            assert lines[-2]["event"] == "error"
            assert lines[-1]["total_matches"] == len(lines) - 3 == 2950
            # By its name it is all that was asked for.
            query: dict[str, object] = {"q": "word", "path": tree / "d15/huge", "timeout": 60}
            client.failure("GET", "/files/search", 502, query=query)


def test_an_answer_has_its_bound_and_says_so(tmp_path: Path, tree: Path) -> None:
    trees.build(tree, {f"f{n:03}": f"word {'x' * 500}\n" * 20 for n in range(100)})
    with serving(tmp_path / "own", "--search-answer-bytes=100000") as target:
        with target.client() as one:
            told = search(one, tree, "word", max_results=1_000_000)
            assert (told["capped"], told["capped_by"]) == (True, "size")
            assert 0 < told["total_matches"] == sum(map(len, told["results"].values())) < 200
            lines = one.lines("/files/search/stream", q="word", path=tree)
            assert lines[-1]["total_matches"] == len(lines) - 2 == 2000


# --- the program -----------------------------------------------------------------------------------


@pytest.fixture
def with_program(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """A client of a server whose ripgrep is a script; the script comes later."""
    with serving(tmp_path / "own", environment={"PATH": "/nowhere"}) as target:
        with target.client() as one:

            def use(script: str | None) -> Client:
                if script is not None:
                    searching.program(tmp_path / "own" / "bin", script)
                return one

            yield use


def failing(client: Client, tree: Path, status: int, **rest: object) -> Json:
    query: dict[str, object] = {"q": "word", "path": tree, **rest}
    return client.failure("GET", "/files/search", status, query=query)


def test_without_ripgrep_it_says_how_to_get_it(
    with_program: Callable[..., Client], place: Path
) -> None:
    client = with_program(None)
    told = failing(client, place, 503)
    assert told["code"] == "unavailable"
    assert "POST /files/search/init" in told["error"]
    assert "apt install ripgrep" in told["error"]
    assert client.json("/files/search/files", q="server", path=place)["files"] == ["server.go"]
    assert client.json("/files", path=place)["count"] > 0


def test_an_old_one_is_503(with_program: Callable[..., Client], place: Path) -> None:
    client = with_program("")
    path = next(Path(client.json("/files/search/init")["path"]).parent.glob("rg"))
    path.write_text("#!/bin/sh\necho 'ripgrep 0.9.0'\n")
    told = failing(client, place, 503)
    assert "0.9.0" in told["error"]
    assert "too old" in told["error"]


BROKEN: dict[str, tuple[str, str]] = {
    "garbage": ("echo garbage", "no message"),
    "endless garbage": ("while :; do printf xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", "no message"),
    "silence": ("exit 0", "failed with 0"),
    "cut off": ("printf '{\"type\":\"begin\"'; exit 0", "failed with 0"),
    "failing": ("echo broken >&2; exit 2", "broken"),
    "odd status": ("exit 77", "77"),
    "half a file": (
        "echo '{\"type\":\"begin\",\"data\":{\"path\":{\"text\":\"./a\"}}}'; exit 1", "failed with 1",
    ),
    "killed": ("kill -9 $$", "signal 9"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_ripgrep_that_misbehaves_is_502(
    with_program: Callable[..., Client], place: Path, name: str
) -> None:
    script, word = BROKEN[name]
    told = failing(with_program(script), place, 502)
    assert told["code"] == "bad_gateway"
    assert word in told["error"]


def test_one_that_cannot_be_run_is_502(with_program: Callable[..., Client], place: Path) -> None:
    client = with_program("")
    path = Path(client.json("/files/search/init")["path"])
    path.write_bytes(b"\x7fELF no program")
    assert failing(client, place, 502)["code"] == "bad_gateway"
    assert client.json("/files/search/init")["installed"] is False


def test_one_that_hangs_is_504_and_ended(
    with_program: Callable[..., Client], place: Path, tmp_path: Path
) -> None:
    client = with_program(f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    told = failing(client, place, 504, timeout=1)
    assert told["code"] == "timeout"
    assert "1 s" in told["error"]
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()


def test_its_own_child_is_ended_too(
    with_program: Callable[..., Client], place: Path, tmp_path: Path
) -> None:
    client = with_program(f"sleep 1000 & echo $! > {tmp_path}/pid; wait")
    failing(client, place, 504, timeout=1)
    wait_until(lambda: not is_alive(int((tmp_path / "pid").read_text())))


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_it_is_told_nothing_of_ours(
    with_program: Callable[..., Client], place: Path, tmp_path: Path
) -> None:
    client = with_program(
        f"/usr/bin/env > {tmp_path}/env; echo \"$@\" > {tmp_path}/words; /bin/pwd > {tmp_path}/cwd;"
        f" /bin/ls -l /proc/$$/fd > {tmp_path}/fd; /usr/bin/readlink /proc/$$/fd/0 > {tmp_path}/stdin; exit 1"
    )  # fmt: skip
    failing(client, place, 502)
    told = (tmp_path / "env").read_text()
    assert client.token not in told
    assert "HUTCH" not in told
    assert "RIPGREP" not in told
    words = (tmp_path / "words").read_text()
    assert "--no-config" in words
    assert "--json" in words
    assert (tmp_path / "cwd").read_text().strip() == str(place)
    assert (tmp_path / "stdin").read_text().strip() == "/dev/null"
    held = {line.split(" -> ")[1] for line in (tmp_path / "fd").read_text().splitlines()[1:]}
    # Besides its outputs the shell holds its own script open.
    rest = {one for one in held if not one.startswith(("pipe:", "/proc/", "/dev/null"))}
    rest.discard(str(tmp_path / "fd"))
    assert rest <= {str(tmp_path / "own/bin/rg")}

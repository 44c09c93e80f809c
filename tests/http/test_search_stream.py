"""`GET /files/search/stream`: order, the first line, the end, clients that leave.

Source: wire contract, sections 1 ("a client that goes away", "a stream that cannot be
completed") and 3.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from tests import searching, trees
from tests.client import Client, Json
from tests.serving import Target, serving
from tests.watching import wait_until

WIDE: trees.Spec = {f"d{n:03}/f{i}": f"word {n} {i}\n" * 40 for n in range(200) for i in range(10)}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 files with 80,000 matching lines."""
    return trees.build(tmp_path_factory.mktemp("wide"), WIDE)


def stream(client: Client, path: Path, q: str, **rest: object) -> list[Json]:
    return client.lines("/files/search/stream", q=q, path=path, **rest)


def test_a_line_a_match_between_start_and_done(client: Client, tree: Path) -> None:
    trees.build(tree, {"a/b": "x\nword word\r\n", "c": "no"})
    start, match, done = stream(client, tree, "WORD", context_lines=1)
    assert start == {"event": "start", "path": str(tree), "base": str(tree)}
    assert match == {
        "path": "a/b", "line": 2, "column": 1, "text": "word word", "before": ["x"], "after": [],
    }  # fmt: skip
    assert done.pop("elapsed_ms") >= 0
    assert done == {"event": "done", "total_matches": 1, "total_files": 1, "capped": False}


def test_nothing_found_is_an_empty_stream(client: Client, tree: Path) -> None:
    lines = stream(client, tree, "word")
    assert [one["event"] for one in lines] == ["start", "done"]


def test_it_is_not_capped_and_finds_all(client: Client, wide: Path) -> None:
    lines = stream(client, wide, "word")
    found = {(one["path"], one["line"]) for one in lines[1:-1]}
    assert len(found) == len(lines) - 2 == 80_000
    assert (lines[-1]["total_matches"], lines[-1]["total_files"]) == (80_000, 2000)
    assert lines[-1]["capped"] is False


def test_lines_of_a_file_come_in_order(client: Client, wide: Path) -> None:
    last: dict[str, int] = {}
    for one in stream(client, wide, "word")[1:-1]:
        assert one["line"] == last.get(one["path"], 0) + 1
        last[one["path"]] = one["line"]


def test_max_results_caps_where_given(client: Client, wide: Path) -> None:
    lines = stream(client, wide, "word", max_results=123)
    assert len(lines) == 125
    assert (lines[-1]["total_matches"], lines[-1]["capped"]) == (123, True)
    assert lines[-1]["capped_by"] == "max_results"


def test_a_name_that_is_not_utf8_is_told_exactly(client: Client, tree: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9")).write_text("word")
    match = stream(client, tree, "word")[1]
    assert (match["path"], match["path_b64"]) == ("caf\ufffd", "Y2Fm6Q")


def test_the_first_line_comes_while_the_search_goes_on(target: Target, wide: Path) -> None:
    """More than the sockets hold is found, so that it cannot be over when the first line is read."""
    with target.client() as client, leaving(client, wide) as lines:
        assert json.loads(next(lines))["event"] == "start"
        assert json.loads(next(lines))["text"].startswith("word")
        assert searching.children(target.pid)
    wait_until(lambda: not searching.children(target.pid))


class leaving:  # noqa: N801  # reads as a word
    """A stream that is left unread."""

    def __init__(self, client: Client, path: Path) -> None:
        query = {"q": "word", "path": str(path)}
        self._stream = client.http.stream("GET", "/files/search/stream", params=query)

    def __enter__(self) -> Iterator[str]:
        answer = self._stream.__enter__()
        assert answer.status_code == 200
        return answer.iter_lines()

    def __exit__(self, *_: object) -> None:
        self._stream.__exit__(None, None, None)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_clients_that_leave_leave_nothing(tmp_path: Path, wide: Path) -> None:
    with serving(tmp_path / "own") as target, target.client() as client:
        stream(client, wide, "word", max_results=1)
        before = descriptors(target.pid)
        for number in range(500):
            with leaving(client, wide) as lines:
                if number % 2:
                    next(lines)
        wait_until(lambda: not searching.children(target.pid))
        wait_until(lambda: descriptors(target.pid) <= before)
        assert stream(client, wide, "word", max_results=1)[-1]["capped"] is True


def test_stalled_readers_hold_bounded_memory(tmp_path: Path, wide: Path) -> None:
    with serving(tmp_path / "own") as target:
        with target.client() as client:
            stream(client, wide, "word")
        clients = [target.client() for _ in range(20)]
        held = [leaving(one, wide) for one in clients]
        for one in held:
            next(one.__enter__())
        resident = resident_mib(target.pid)
        assert resident < 300, resident
        for one, client in zip(held, clients, strict=True):
            one.__exit__()
            client.http.close()
        wait_until(lambda: not searching.children(target.pid))


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(one for one in lines if one.startswith("VmRSS")).split()[1]) / 1024


@pytest.fixture
def with_program(tmp_path: Path) -> Iterator[Callable[[str], Client]]:
    """A client of a server whose ripgrep is a script."""

    def use(script: str) -> Client:
        searching.program(tmp_path / "own" / "bin", script)
        return client

    with serving(tmp_path / "own", "--silence-seconds=0.1") as target, target.client() as client:
        yield use


ONE = r"""printf '%s\n' '{"type":"begin","data":{"path":{"text":"./a"}}}' """ + (
    r"""'{"type":"match","data":{"path":{"text":"./a"},"lines":{"text":"word\n"},"""
    r""""line_number":1,"absolute_offset":0,"submatches":[{"match":{"text":"word"},"start":0,"""
    r""""end":4}]}}'"""
)


@pytest.mark.parametrize(
    ("end", "code", "word"),
    [("kill -9 $$", "bad_gateway", "signal 9"), ("echo nonsense", "bad_gateway", "no message")],
)
def test_a_search_that_breaks_ends_with_an_error_and_no_last_chunk(
    with_program: Callable[[str], Client], tree: Path, end: str, code: str, word: str
) -> None:
    # It waits until its first match has left: what comes before any is a proper answer.
    client = with_program(f"{ONE}; while [ ! -e {tree}/.go ]; do sleep 0.01; done; {end}")
    (tree / "a").write_text("word\n")
    told: list[Json] = []
    with pytest.raises(httpx2.RemoteProtocolError):
        query = {"q": "word", "path": str(tree)}
        with client.http.stream("GET", "/files/search/stream", params=query) as answer:
            for line in answer.iter_lines():
                told.append(json.loads(line))
                (tree / ".go").touch()
    events = [one for one in told if one.get("event") != "progress"]
    assert events[0]["event"] == "start"
    assert events[1]["path"] == "a"
    assert (events[-1]["event"], events[-1]["code"]) == ("error", code)
    assert word in events[-1]["error"]


def test_a_silent_search_gives_signs_of_life_and_has_no_end(
    with_program: Callable[[str], Client], tree: Path
) -> None:
    client = with_program("exec sleep 1000")
    (tree / "a").write_text("word\n")
    query = {"q": "word", "path": str(tree)}
    with client.http.stream("GET", "/files/search/stream", params=query) as answer:
        lines = answer.iter_lines()
        for _ in range(5):
            assert json.loads(next(lines)) == {"event": "progress"}


def test_a_timeout_that_was_given_ends_it(
    with_program: Callable[[str], Client], tree: Path
) -> None:
    client = with_program("exec sleep 1000")
    (tree / "a").write_text("word\n")
    with pytest.raises(httpx2.RemoteProtocolError):
        client.get("/files/search/stream", q="word", path=tree, timeout=1)


def test_head_tells_whether_get_would_fail(client: Client, tree: Path) -> None:
    (tree / "a").write_text("word\n")
    for q, status in (("word", 200), ("(", 400)):
        query: dict[str, object] = {"q": q, "regex": True, "path": tree}
        answer = client.request("HEAD", "/files/search/stream", query=query)
        assert (answer.status_code, answer.content) == (status, b"")

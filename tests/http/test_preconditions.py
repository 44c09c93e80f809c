"""`If-Match`, `If-None-Match`, `expected_hash` on everything that changes a file.

Oracles: `hashlib`, `os.stat`; exactly one of many may win.
Source: wire contract, section 2, "Write".
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from tests.client import Client
from tests.trees import etag

OLD = b"old"
HASH = hashlib.sha256(OLD).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()

Change = Callable[..., httpx2.Response]


def write(client: Client, path: Path, headers: dict[str, str], **given: str) -> httpx2.Response:
    body = {"path": str(path), "content": "new", **given}
    return client.request("POST", "/files/write", body=body, headers=headers)


def append(client: Client, path: Path, headers: dict[str, str], **given: str) -> httpx2.Response:
    body = {"path": str(path), "content": "new", "append": True, **given}
    return client.request("PUT", "/files/write", body=body, headers=headers)


def upload(client: Client, path: Path, headers: dict[str, str], **given: str) -> httpx2.Response:
    query: dict[str, object] = {"path": path, **given}
    return client.request("PUT", "/files/raw", query=query, content=b"new", headers=headers)


def delete(client: Client, path: Path, headers: dict[str, str], **given: str) -> httpx2.Response:
    query: dict[str, object] = {"path": path, **given}
    return client.request("DELETE", "/files/delete", query=query, headers=headers)


CHANGES: dict[str, Change] = {
    "write": write,
    "append": append,
    "upload": upload,
    "delete": delete,
}

# Headers and parameters, as made from the file's ETag: which hold for a file that is there, and
# which where there is none.
CONDITIONS: dict[str, tuple[Callable[[str], dict[str, str]], Callable[[str], dict[str, str]]]] = {
    "etag": (lambda tag: {"If-Match": tag}, lambda _: {}),
    "weak etag": (lambda tag: {"If-Match": f"W/{tag}"}, lambda _: {}),
    "one of several": (lambda tag: {"If-Match": f'"a", {tag}, "b"'}, lambda _: {}),
    "any": (lambda _: {"If-Match": "*"}, lambda _: {}),
    "hash as a tag": (lambda _: {"If-Match": f'"{HASH}"'}, lambda _: {}),
    "bare hash": (lambda _: {"If-Match": HASH.upper()}, lambda _: {}),
    "expected hash": (lambda _: {}, lambda _: {"expected_hash": HASH}),
    "both": (lambda tag: {"If-Match": tag}, lambda _: {"expected_hash": HASH}),
    "not another": (lambda _: {"If-None-Match": f'"{OTHER}", "x"'}, lambda _: {}),
    "none": (lambda _: {}, lambda _: {}),
}
REFUSED: dict[str, tuple[Callable[[str], dict[str, str]], Callable[[str], dict[str, str]]]] = {
    "another etag": (lambda _: {"If-Match": '"1-2-3-4"'}, lambda _: {}),
    "another hash as a tag": (lambda _: {"If-Match": f'"{OTHER}"'}, lambda _: {}),
    "another hash": (lambda _: {}, lambda _: {"expected_hash": OTHER}),
    "one of both": (lambda tag: {"If-Match": tag}, lambda _: {"expected_hash": OTHER}),
    "new only": (lambda _: {"If-None-Match": "*"}, lambda _: {}),
    "not this etag": (lambda tag: {"If-None-Match": f'"x", {tag}'}, lambda _: {}),
    "not this hash": (lambda _: {"If-None-Match": f'"{HASH}"'}, lambda _: {}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", CONDITIONS)
def test_what_holds_is_done(client: Client, tree: Path, change: str, name: str) -> None:
    path = tree / "file"
    path.write_bytes(OLD)
    headers, given = (make(etag(path)) for make in CONDITIONS[name])
    answer = CHANGES[change](client, path, headers, **given)
    assert answer.status_code in (200, 201), answer.text
    wanted = {"append": b"oldnew", "delete": None}.get(change, b"new")
    assert (path.read_bytes() if path.exists() else None) == wanted


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_hold_is_412_and_changes_nothing(
    client: Client, tree: Path, change: str, name: str
) -> None:
    path = tree / "file"
    path.write_bytes(OLD)
    before = path.stat()
    headers, given = (make(etag(path)) for make in REFUSED[name])
    answer = CHANGES[change](client, path, headers, **given)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (412, "precondition_failed")
    assert (told["hash"], answer.headers["etag"]) == (HASH, etag(path))
    assert str(path) in told["error"]
    after = path.stat()
    assert (path.read_bytes(), after.st_ino, after.st_ctime_ns) == (
        OLD,
        before.st_ino,
        before.st_ctime_ns,
    )
    assert os.listdir(tree) == ["file"]


@pytest.mark.parametrize("change", ["write", "append", "upload"])
@pytest.mark.parametrize("where", ["file", "a/b/file"])
def test_a_missing_file_satisfies_none_and_no_directory_is_made(
    client: Client, tree: Path, change: str, where: str
) -> None:
    options = "true" if change == "upload" else True
    for headers, given in (({"If-Match": "*"}, {}), ({}, {"expected_hash": HASH})):
        asked: dict[str, object] = {"create_dirs": options, **given}
        answer = CHANGES[change](client, tree / where, headers, **asked)
        assert (answer.status_code, answer.json()["hash"]) == (412, None), answer.text
    assert os.listdir(tree) == []
    answer = CHANGES[change](client, tree / where, {"If-None-Match": "*"}, create_dirs=options)
    assert (answer.status_code, (tree / where).read_bytes()) == (201, b"new")


def test_to_delete_what_is_missing(client: Client, tree: Path) -> None:
    cases = {"If-Match": 412, "If-None-Match": 404}
    for name, status in cases.items():
        assert delete(client, tree / "file", {name: "*"}).status_code == status


def test_a_directory_has_an_etag_and_no_hash(client: Client, tree: Path) -> None:
    (tree / "dir").mkdir()
    refused = delete(client, tree / "dir", {"If-Match": '"x"'})
    assert (refused.status_code, refused.json()["hash"]) == (412, None)
    assert delete(client, tree / "dir", {}, expected_hash=HASH).status_code == 412
    assert delete(client, tree / "dir", {"If-Match": etag(tree / "dir")}).status_code == 200


MALFORMED = {"If-Match": "abc", "If-None-Match": '"open'}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_malformed_is_400_and_named(client: Client, tree: Path, change: str) -> None:
    path = tree / "file"
    path.write_bytes(OLD)
    for name, value in MALFORMED.items():
        answer = CHANGES[change](client, path, {name: value})
        assert (answer.status_code, name in answer.json()["error"]) == (400, True)
    answer = CHANGES[change](client, path, {}, expected_hash="abc")
    assert (answer.status_code, "expected_hash" in answer.json()["error"]) == (400, True)
    assert path.read_bytes() == OLD


def test_what_an_answer_told_can_be_asked_for(client: Client, tree: Path) -> None:
    path = tree / "file"
    told = write(client, path, {}).json()
    for _ in range(3):
        answer = write(client, path, {"If-Match": told["etag"]}, expected_hash=told["hash"])
        assert answer.status_code == 201
        told = answer.json()
    assert write(client, path, {"If-Match": client.get("/files/read", path=path).headers["etag"]})


# --- at once ---------------------------------------------------------------------------------

MANY = 24


def race(work: Callable[[int], httpx2.Response]) -> list[httpx2.Response]:
    """Everybody at once; the answers in order."""
    answers: dict[int, httpx2.Response] = {}
    start = threading.Barrier(MANY)

    def run(index: int) -> None:
        start.wait()
        answers[index] = work(index)

    threads = [threading.Thread(target=run, args=[index]) for index in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[index] for index in range(MANY)]


def spellings(tree: Path) -> list[Path]:
    """One file under many names."""
    (tree / "real").mkdir()
    (tree / "dir").symlink_to("real")
    (tree / "link").symlink_to(tree / "dir/file")
    return [tree / "real/file", tree / "dir/file", tree / "link", tree / "real/../dir/./file"]


def content_of(index: int) -> str:
    return f"{index} " * 20_000


@pytest.mark.parametrize("kind", ["write", "upload"])
def test_of_many_with_one_expectation_exactly_one_wins(
    client: Client, tree: Path, kind: str
) -> None:
    paths = spellings(tree)
    path = paths[0]
    path.write_bytes(OLD)

    def work(index: int) -> httpx2.Response:
        spelled = str(paths[index % len(paths)])
        if kind == "upload":
            query: dict[str, object] = {"path": spelled, "expected_hash": HASH}
            content = content_of(index).encode()
            return client.request("PUT", "/files/raw", query=query, content=content)
        body = {"path": spelled, "content": content_of(index), "expected_hash": HASH}
        return client.request("POST", "/files/write", body=body)

    answers = race(work)
    won = [index for index, answer in enumerate(answers) if answer.status_code == 201]
    assert len(won) == 1, [one.text for one in answers]
    assert path.read_text() == content_of(won[0])
    now = hashlib.sha256(path.read_bytes()).hexdigest()
    lost = [one for one in answers if one.status_code != 201]
    assert {one.status_code for one in lost} == {412}
    # An upload is looked at before its body is taken, too.
    assert {one.json()["hash"] for one in lost} <= {now, HASH}
    assert sorted(os.listdir(tree / "real")) == ["file"]


@pytest.mark.parametrize("options", [{}, {"append": True}, {"create_dirs": True}], ids=str)
def test_of_many_that_make_the_file_exactly_one_wins(
    client: Client, tree: Path, options: dict[str, bool]
) -> None:
    path = tree / "a/b/file" if options.get("create_dirs") else tree / "file"

    def work(index: int) -> httpx2.Response:
        body = {"path": str(path), "content": content_of(index), **options}
        headers = {"If-None-Match": "*"}
        return client.request("PUT", "/files/write", body=body, headers=headers)

    answers = race(work)
    statuses = [one.status_code for one in answers]
    assert (statuses.count(201), statuses.count(412)) == (1, MANY - 1), statuses
    assert path.read_text() == content_of(statuses.index(201))


def test_a_counter_loses_no_step(client: Client, tree: Path) -> None:
    path = tree / "counter"
    path.write_text("0")

    def work(_: int) -> httpx2.Response:
        while True:
            seen = path.read_bytes()
            body = {
                "path": str(path),
                "content": str(int(seen) + 1),
                "expected_hash": hashlib.sha256(seen).hexdigest(),
            }
            answer = client.request("POST", "/files/write", body=body)
            if answer.status_code == 201:
                return answer

    race(work)
    assert path.read_text() == str(MANY)

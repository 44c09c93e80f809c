"""JSON bodies of every endpoint that takes one: what is taken, how much, and what is refused.

Source: wire contract, section 1, "bodies", "paths" and "names that are not UTF-8".
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import inspect
from tests.client import Client, Json, b64
from tests.needed import NEEDED
from tests.serving import Target, serving

from hutch.routing.table import Route
from hutch.runtime.http.app import TABLE
from hutch.wire import shapes

pytestmark = pytest.mark.wire

MIB = 2**20
ALL_ROUTES = [one for one in TABLE.routes if one.source != "query"]
# The others name their fields in tests of their own.
ROUTES = [
    one
    for one in ALL_ROUTES
    if one.shape is not None and any(it.encode_name == "path" for it in shapes.fields(one.shape))
]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


PARAMETRIZED = pytest.mark.parametrize("route", ROUTES, ids=name_of)
EVERY_ROUTE = pytest.mark.parametrize("route", ALL_ROUTES, ids=name_of)

TYPES = (
    "application/json",
    "application/json; charset=latin-1",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "",
)


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_is_json_whatever_its_type_says(
    client: Client, tree: Path, method: str, content_type: str
) -> None:
    content = json.dumps({"path": str(tree / "file"), "content": "żółć"}, ensure_ascii=False)
    headers = {"Content-Type": content_type}
    answer = client.request(method, "/files/write", content=content.encode(), headers=headers)
    assert answer.status_code == 201, answer.text
    assert (tree / "file").read_text() == "żółć"


@PARAMETRIZED
@pytest.mark.parametrize("body", [b"", b"{}", b" \r\n\t", b'{"path":null}', b'{"other":1}'])
def test_what_is_not_given_is_missing(client: Client, route: Route, body: bytes) -> None:
    told = client.failure(route.method, route.path, 400, content=body)
    assert told["error"].startswith("path: missing")


def test_null_is_absent(client: Client, tree: Path) -> None:
    nothing = dict.fromkeys(("mode", "append", "create_dirs", "encoding", "expected_hash"))
    body = {"path": str(tree / "file"), "content": "a", **nothing}
    assert client.request("POST", "/files/write", body=body).status_code == 201
    assert os.stat(tree / "file").st_mode & 0o7777 == 0o644


def test_of_a_doubled_field_the_last_counts(client: Client, tree: Path) -> None:
    body = f'{{"path":"{tree}/a","path":"{tree}/b"}}'
    client.request("POST", "/files/mkdir", content=body.encode())
    assert os.listdir(tree) == ["b"]


MALFORMED = {
    "cut": b'{"path":"/a"',
    "trailing": b'{"path":"/a"} x',
    "two": b'{"path":"/a"}{}',
    "deep": b'{"path":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep where nobody looks": b'{"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "infinite": b'{"path":Infinity}',
    "huge number": b'{"path":"/a","mode":1e400}',
    "null": b"null",
    "text": b'"/a"',
    "UTF-16": '{"path":"/a"}'.encode("utf-16"),
    "form": b"path=/a",
    "lone surrogate": b'{"path":"/\\ud800"}',
    "single quotes": b"{'path':'/a'}",
    "comment": b'{"path":"/a"}//',
}


@EVERY_ROUTE
@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_object_is_400(client: Client, route: Route, name: str) -> None:
    told = client.failure(route.method, route.path, 400, content=MALFORMED[name])
    assert told["code"] == "bad_request"
    assert len(told["error"]) < 1000
    assert told["error"].lower().count("malformed") <= 1


def _fields() -> Iterator[tuple[Route, inspect.Field]]:
    for route in ROUTES:
        assert route.shape is not None
        for field in shapes.fields(route.shape):
            yield route, field


# What no field of these bodies is.
WRONG: dict[str, object] = {"list": [1], "object": {}, "number": 1, "fraction": 1.5}


@pytest.mark.parametrize(
    ("route", "field"),
    list(_fields()),
    ids=lambda one: f"{one.method} {one.path}" if isinstance(one, Route) else one.encode_name,
)
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_type_is_400_and_named(
    client: Client, tree: Path, route: Route, field: inspect.Field, what: str
) -> None:
    body: Json = {
        "path": str(tree / "nothing"),
        "content": "",
        **NEEDED,
        field.encode_name: WRONG[what],
    }
    told = client.failure(route.method, route.path, 400, body=body)
    assert field.encode_name in told["error"]
    assert os.listdir(tree) == []


BAD_PATHS = {
    "empty": "",
    "relative": "a/b",
    "dot": "./a",
    "tilde": "~/a",
    "tilde of a user": "~root/a",
    "NUL": "/a\0b",
}


@PARAMETRIZED
@pytest.mark.parametrize("name", BAD_PATHS)
def test_a_path_that_is_not_absolute_is_400(client: Client, route: Route, name: str) -> None:
    for body in ({"path": BAD_PATHS[name]}, {"path_b64": b64(BAD_PATHS[name].encode())}):
        told = client.failure(route.method, route.path, 400, body={**body, "content": "", **NEEDED})
        assert told["error"].startswith("path")


@PARAMETRIZED
def test_base64_that_is_none_is_400(client: Client, route: Route) -> None:
    for text in ("@", "A", "L2E=x", "é", "L2E L2E"):
        told = client.failure(
            route.method, route.path, 400, body={"path_b64": text, "content": "", **NEEDED}
        )
        assert "path_b64" in told["error"]


# --- size --------------------------------------------------------------------------------------


def announced(target: Target, size: int, route: Route) -> bytes:
    """What a request is answered that announces a body, and sends none of it yet."""
    head = (
        f"{route.method} {route.path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        f"Authorization: Bearer {target.token}\r\nContent-Length: {size}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as one:
        one.sendall(head.encode())
        return one.recv(4096)


@EVERY_ROUTE
def test_a_body_may_have_96_mib(target: Target, route: Route) -> None:
    assert announced(target, 96 * MIB, route).startswith(b"HTTP/1.1 100 ")
    refused = announced(target, 96 * MIB + 1, route)
    assert refused.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in refused
    assert b"100663296" in refused
    assert b"/files/raw" in refused


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_limit_holds_however_the_body_is_framed(tmp_path: Path, framing: str) -> None:
    def body(size: int) -> object:
        whole = (json.dumps({"path": str(tmp_path / "made")}) + " " * size)[:size].encode()
        pieces = (whole[at : at + 100] for at in range(0, size, 100))
        return pieces if framing == "chunked" else whole

    with serving(tmp_path / "server", "--body-bytes=1000") as target, target.client() as client:
        answer = client.request("POST", "/files/mkdir", content=body(1000))
        assert answer.status_code == 201, answer.text
        told = client.failure("POST", "/files/mkdir", 413, content=body(1001))
        assert (told["code"], "1000 bytes" in told["error"]) == ("too_large", True)


def test_content_of_50_mib_is_taken_whatever_its_escapes_cost(client: Client, tree: Path) -> None:
    """And not a byte more; the escaped body is larger than the content, and smaller than 96 MiB."""
    content = "a\n" * (25 * MIB)
    body = {"path": str(tree / "file"), "content": content}
    assert client.request("POST", "/files/write", body=body).status_code == 201
    assert os.stat(tree / "file").st_size == 50 * MIB
    body["content"] = content + "x"
    told = client.failure("POST", "/files/write", 413, body=body)
    assert "52428800" in told["error"]
    assert os.stat(tree / "file").st_size == 50 * MIB

"""The parser of queries and bodies: tables of what is taken, what is refused, and by what name."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from hutch.wire import paths, shapes
from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath


class Asked(Struct, frozen=True, kw_only=True):
    path: AbsolutePath
    flag: bool = False
    count: Annotated[int, Meta(ge=1, le=1000)] = 20
    text: Annotated[str, Meta(max_length=10)] = ""
    items: Annotated[list[str], Meta(max_length=3)] = []
    kind: Literal["a", "b"] = "a"


TAKEN: dict[str, tuple[bytes, dict[str, object]]] = {
    "least": (b"path=/a", {"path": b"/a"}),
    "encoded": (b"path=%2Fa%20b+c", {"path": b"/a b c"}),
    "base64": (b"path_b64=L2E", {"path": b"/a"}),
    "base64 not UTF-8": (b"path_b64=L_8", {"path": b"/\xff"}),
    "base64 standard alphabet": (b"path_b64=L/8=", {"path": b"/\xff"}),
    "base64 before text": (b"path=/b&path_b64=L2E", {"path": b"/a"}),
    "true": (b"path=/&flag=YES", {"flag": True}),
    "on": (b"path=/&flag=on", {"flag": True}),
    "off": (b"path=/&flag=Off", {"flag": False}),
    "integer": (b"path=/&count=1000", {"count": 1000}),
    "items": (b"path=/&items=a,%20b%20,,c", {"items": ["a", "b", "c"]}),
    "choice": (b"path=/&kind=b", {"kind": "b"}),
    "unknown": (b"path=/&nothing=%FF", {}),
    "doubled": (b"path=/a&path=/b", {"path": b"/b"}),
    "no value": (b"path=/&text", {"text": ""}),
}

REFUSED = {
    "missing": (b"", "path"),
    "empty path": (b"path=", "path"),
    "relative": (b"path=a/b", "path"),
    "tilde": (b"path=~/a", "path"),
    "NUL in path": (b"path=/a%00b", "path"),
    "path not UTF-8": (b"path=/%FF", "path_b64"),
    "base64 broken": (b"path_b64=@@", "path_b64"),
    "base64 relative": (b"path_b64=YQ", "path_b64"),
    "base64 not ASCII": (b"path_b64=%C3%A9", "path_b64"),
    "flag": (b"path=/&flag=maybe", "flag"),
    "flag empty": (b"path=/&flag=", "flag"),
    "flag NUL": (b"path=/&flag=true%00", "flag"),
    "count": (b"path=/&count=x", "count"),
    "count empty": (b"path=/&count=", "count"),
    "count low": (b"path=/&count=0", "count"),
    "count high": (b"path=/&count=1001", "count"),
    "count endless": (b"path=/&count=" + b"9" * 100_000, "count"),
    "count with blanks": (b"path=/&count=%201", "count"),
    "count with underscore": (b"path=/&count=1_0", "count"),
    "count in other digits": ("path=/&count=٣".encode(), "count"),
    "text too long": (b"path=/&text=" + b"x" * 100_000, "text"),
    "text not UTF-8": (b"path=/&text=%FF", "text"),
    "items too many": (b"path=/&items=a,b,c,d", "items"),
    "choice": (b"path=/&kind=c", "kind"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_query_is_taken(case: str) -> None:
    query, wanted = TAKEN[case]
    asked = shapes.parse_query(Asked, query)
    assert {name: getattr(asked, name) for name in wanted} == wanted


@pytest.mark.parametrize("case", REFUSED)
def test_a_query_is_refused_by_name(case: str) -> None:
    query, name = REFUSED[case]
    with pytest.raises(Failure) as caught:
        shapes.parse_query(Asked, query)
    assert caught.value.code == "bad_request"
    assert name in caught.value.message
    assert len(caught.value.message) < 500


BODIES_REFUSED = {
    "malformed": (b"{", "body"),
    "not an object": (b"[]", "body"),
    "a number": (b"1", "body"),
    "NaN": (b'{"path":"/a","count":NaN}', "body"),
    "not UTF-8": (b'{"path":"/\xff"}', "body"),
    "nested deeply": (b"[" * 100_000, "body"),
    "wrong type": (b'{"path":"/a","flag":"true"}', "flag"),
    "wrong number": (b'{"path":"/a","count":1.5}', "count"),
    "out of range": (b'{"path":"/a","count":0}', "count"),
    "path is a number": (b'{"path":1}', "path"),
    "path is null": (b'{"path":null}', "path"),
    "item of a wrong type": (b'{"path":"/a","items":[1]}', "items"),
    "lone surrogate": (b'{"path":"/\\ud800"}', ""),
}


@pytest.mark.parametrize("case", BODIES_REFUSED)
def test_a_body_is_refused_by_name(case: str) -> None:
    body, name = BODIES_REFUSED[case]
    with pytest.raises(Failure) as caught:
        shapes.parse_body(Asked, body)
    assert caught.value.code == "bad_request"
    assert name in caught.value.message


def test_null_is_absent_and_unknown_fields_are_ignored() -> None:
    asked = shapes.parse_body(Asked, b'{"path":"/a","count":null,"other":{}}')
    assert asked == Asked(path=b"/a")


def test_an_empty_body_is_an_empty_object() -> None:
    class Nothing(Struct, frozen=True):
        text: str = "x"

    assert shapes.parse_body(Nothing, b" \n") == Nothing()


def test_either_takes_the_body_first() -> None:
    asked = shapes.parse_either(Asked, b"path=/q&count=3", b'{"path":"/b"}')
    assert (asked.path, asked.count) == (b"/b", 3)


NORMAL = {
    b"/": b"/",
    b"//": b"/",
    b"/a/": b"/a",
    b"//a//b": b"/a/b",
    b"/a/./b": b"/a/b",
    b"/a/../b": b"/b",
    b"/..": b"/",
    b"/a/../../b": b"/b",
    b"/a/...": b"/a/...",
    b"/a/~": b"/a/~",
}


@pytest.mark.parametrize("given_path", NORMAL)
def test_a_path_is_normalised(given_path: bytes) -> None:
    assert paths.normalise(given_path) == NORMAL[given_path]


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_every_name_survives_the_round_trip(name: bytes) -> None:
    path = paths.normalise(b"/" + name)
    shown, twin = paths.display(path), paths.encode_b64(path)
    back = paths.from_b64(twin, name="path_b64") if twin else paths.from_text(shown)
    assert back == path

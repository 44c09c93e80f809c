"""Every parameter of every endpoint, given badly: a 4xx that names it, never a 5xx, never a hang.

The cases come from the route table, so that a new endpoint is covered without a line here.
Source: wire contract, section 1, "parameters" and "paths".
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec import inspect
from tests.client import Client, Json, Wire, b64
from tests.needed import NEEDED, QUERY

from hutch.routing.table import Route
from hutch.runtime.http.app import TABLE
from hutch.wire import shapes

pytestmark = pytest.mark.wire

LONG = "x" * 100_000


@dataclass(frozen=True)
class Case:
    route: Route
    name: str
    what: str
    query: str

    def __str__(self) -> str:
        return f"{self.route.method} {self.route.path} {self.name} {self.what}"


def _bad_values(field: inspect.Field) -> dict[str, str]:
    schema = shapes.schema(field.type)
    bad = {"not UTF-8": "%FF", "NUL": "a%00b"}
    if shapes.is_path(field.type):
        return bad | {"empty": "", "relative": "a/b", "tilde": "~/a", "long": "/" + LONG}
    if schema.get("type") == "boolean":
        return bad | {"empty": "", "wrong": "maybe", "long": LONG}
    if schema.get("type") == "integer":
        wrong = {"empty": "", "wrong": "x", "fraction": "1.5", "long": LONG}
        low, high = schema.get("minimum"), schema.get("maximum")
        wrong |= {} if low is None else {"low": str(low - 1)}
        return bad | wrong | ({} if high is None else {"high": str(high + 1)})
    if "enum" in schema:
        return bad | {"wrong": "nothing"}
    return bad | {"long": LONG}


def _cases() -> Iterator[Case]:
    for route in TABLE.routes:
        if route.shape is None or route.source == "body":
            continue
        for field in shapes.fields(route.shape):
            name = field.encode_name
            # Not there: some of these endpoints remove what they are pointed at.
            rest = f"{QUERY}&" + ("" if shapes.is_path(field.type) else "path=/nothing/is/here&")
            if field.required:
                yield Case(route, name, "missing", "")
            for what, value in _bad_values(field).items():
                yield Case(route, name, what, f"{rest}{name}={value}")


@pytest.mark.parametrize("case", list(_cases()), ids=str)
def test_a_bad_parameter_is_a_4xx_that_names_it(client: Client, case: Case) -> None:
    headers = {"Authorization": f"Bearer {client.token}"}
    with Wire(client.url) as wire:
        answer = wire.send(case.route.method, f"{case.route.path}?{case.query}", headers)
    assert 400 <= answer.status < 500, answer
    told = json.loads(answer.body)
    assert case.name in told["error"], told
    assert len(told["error"]) < 2000


def _given() -> Iterator[Case]:
    """Every boolean in every form, every integer at its bounds, each choice."""
    for route in TABLE.routes:
        if route.shape is None or route.source == "body":
            continue
        for field in shapes.fields(route.shape):
            for value in _good_values(field):
                yield Case(route, field.encode_name, value, f"{field.encode_name}={value}")


def _good_values(field: inspect.Field) -> list[str]:
    schema = shapes.schema(field.type)
    if schema.get("type") == "boolean":
        words = ("true", "1", "yes", "on", "false", "0", "no", "off")
        return [*words, *map(str.upper, words), *map(str.title, words)]
    if schema.get("type") == "integer":
        return [str(schema[one]) for one in ("minimum", "maximum") if one in schema]
    return list(map(str, schema.get("enum", ())))


@pytest.mark.parametrize("case", list(_given()), ids=str)
def test_a_good_parameter_is_taken(client: Client, tree: Path, case: Case) -> None:
    query = f"{QUERY}&path={tree}/no/way&dest={tree}/no/way&{case.query}"
    answer = client.request(case.route.method, case.route.path, query=query)
    if case.route.path == "/files/transfer/upload":
        assert "the archive is empty" in answer.text
        return
    assert answer.status_code == (201 if (tree / "no").exists() else 404), answer.text


def test_the_words_mean_what_they_say(client: Client, tree: Path) -> None:
    (tree / "dir").mkdir()
    (tree / "dir" / "file").touch()
    for words, count in ((("true", "1", "YES", "On"), 2), (("false", "0", "NO", "Off"), 1)):
        for word in words:
            assert client.json("/files", path=tree, nested=word)["count"] == count


PATHS = [
    one
    for one in TABLE.routes
    if one.shape and any(field.encode_name == "path" for field in shapes.fields(one.shape))
]


def missing(client: Client, route: Route, **path: str) -> str:
    """The error of a request for a path that is not there, in the query or in the body."""
    if route.source == "query":
        query: dict[str, object] = {**NEEDED, **path}
        return str(client.failure(route.method, route.path, 404, query=query)["error"])
    body = {**path, "content": "", **NEEDED}
    return str(client.failure(route.method, route.path, 404, body=body)["error"])


EVERYWHERE = [one for one in PATHS if one.path != "/files/mkdir"]
NAMED = pytest.mark.parametrize("route", EVERYWHERE, ids=lambda one: f"{one.method} {one.path}")
DIRTY = ("{0}/x/../no/way", "{0}//no///way", "{0}/./no/./way", "{0}/no/way/", "/../..{0}/no/way//.")


@NAMED
@pytest.mark.parametrize("spelling", DIRTY)
def test_paths_are_normalised_everywhere(
    client: Client, tree: Path, route: Route, spelling: str
) -> None:
    dirty = spelling.format(tree)
    for path in ({"path": dirty}, {"path_b64": b64(dirty.encode())}):
        told = missing(client, route, **path)
        # Of a file to be made, the parent is what is missing.
        assert f"{tree}/no" in told
        assert "//" not in told
        assert "/." not in told


@NAMED
def test_path_b64_is_taken_everywhere_in_both_alphabets(
    client: Client, tree: Path, route: Route
) -> None:
    name = os.fsencode(tree) + b"/\xff\xfe/\xfb\xef\xbe/x"
    standard = base64.b64encode(name).decode()
    assert standard.translate({43: "-", 47: "_"}) != standard
    for text in (
        b64(name),
        standard,
        standard.rstrip("="),
        base64.urlsafe_b64encode(name).decode(),
    ):
        assert f"{tree}/\ufffd\ufffd" in missing(client, route, path_b64=text)


def test_path_b64_counts_before_path(client: Client, tree: Path) -> None:
    (tree / "file").touch()
    told = client.json("/files/stat", path="/nothing", path_b64=b64(os.fsencode(tree / "file")))
    assert told["path"] == str(tree / "file")


@pytest.mark.parametrize("route", PATHS, ids=lambda one: f"{one.method} {one.path}")
def test_unknown_parameters_are_ignored(client: Client, tree: Path, route: Route) -> None:
    (tree / "dir").mkdir()
    (tree / "file").touch()
    odd: Json = {"nothing": "%FF", "__proto__": "1", "": "x", **NEEDED}
    answers = []
    # One that lists takes the directory, one that reads the file, and some take both.
    for place in (tree / "file", tree / "dir"):
        body = (
            {"path": str(place), "content": "", **NEEDED, **odd}
            if route.source != "query"
            else None
        )
        query = {**odd, "path": str(place)}
        answers.append(client.request(route.method, route.path, query=query, body=body))
    assert route.status in {one.status_code for one in answers}, [one.text for one in answers]


def test_quoting_is_undone_once(client: Client) -> None:
    told = client.failure("GET", "/files", 404, query=f"path={quote('/no%41such', safe='')}")
    assert "/no%41such" in told["error"]

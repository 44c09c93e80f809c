"""Every parameter of every endpoint, given badly: a 4xx that names it, never a 5xx, never a hang.

The cases come from the route table, so that a new endpoint is covered without a line here.
Source: wire contract, section 1, "parameters" and "paths".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from msgspec import inspect
from tests.client import Client, Wire

from hutch.runtime.http.app import TABLE
from hutch.runtime.http.table import Route
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
            rest = "" if shapes.is_path(field.type) else "path=/nothing/is/here&"
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


def test_quoting_is_undone_once(client: Client) -> None:
    told = client.failure("GET", "/files", 404, query=f"path={quote('/no%41such', safe='')}")
    assert "/no%41such" in told["error"]

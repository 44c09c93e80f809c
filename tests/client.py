"""The shared test client: speaks HTTP, and holds every JSON answer to `/openapi.json`.

Belongs here: sending, decoding, validating. Banned here: knowledge of single endpoints.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import httpx2
import jsonschema

Json = dict[str, Any]


def b64(name: bytes) -> str:
    return base64.urlsafe_b64encode(name).rstrip(b"=").decode()


@dataclass(frozen=True)
class Plain:
    """An answer as it came: header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """One kept connection that sends what it is told, however odd: no URL is too long for it,
    no header value illegal."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, method: str, target: str, headers: Mapping[str, str] | None = None) -> Plain:
        """Sends a request without a body. A connection that the server closed is made anew."""
        self._connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            self._connection.putheader(name, value)
        self._connection.endheaders()
        answer = self._connection.getresponse()
        body = answer.read()
        return Plain(answer.status, {k.lower(): v for k, v in answer.getheaders()}, body)


class Client:
    """One connection pool to one server with one token, or with other `credentials`."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = 60.0,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self.token = token
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        self.credentials = dict(bearer if credentials is None else credentials)
        self.http = httpx2.Client(base_url=url, headers=self.credentials, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, object] | str | bytes = "",
        body: object = None,
        content: Any = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Sends; validates a JSON answer against the published schema of its route."""
        target = path + _query_text(query)
        if body is not None:
            content = json.dumps(body).encode()
        answer = self.http.request(method, target, content=content, headers=headers)
        self.validate(method, path, answer)
        return answer

    def get(self, path: str, /, **query: object) -> httpx2.Response:
        return self.request("GET", path, query=query)

    def json(self, path: str, /, **query: object) -> Json:
        """A GET that must succeed."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def lines(self, path: str, /, **query: object) -> list[Json]:
        """An NDJSON answer, each line decoded; the last must be the `done` event."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        found = [json.loads(line) for line in answer.content.splitlines()]
        assert found[-1].get("event") == "done", found[-1]
        return found

    def entries(self, path: str = "/files/stream", /, **query: object) -> list[Json]:
        """The entries of a stream, without its events."""
        return [one for one in self.lines(path, **query) if "event" not in one]

    def failure(self, method: str, path: str, status: int, **rest: Any) -> Json:
        """A request that must fail with `status`; its error body."""
        answer = self.request(method, path, **rest)
        assert answer.status_code == status, (answer.status_code, answer.text)
        if method == "HEAD":
            return {}
        told = dict(answer.json())
        assert told["success"] is False
        assert told["error"]
        assert told["request_id"] == answer.headers["x-request-id"]
        return told

    def validate(self, method: str, path: str, answer: httpx2.Response) -> None:
        if answer.headers.get("content-type") != "application/json" or not answer.content:
            return
        value = json.loads(answer.content)
        if path.startswith("/runtimes/local/"):
            path = path.removeprefix("/runtimes/local")
        credentials = tuple(self.credentials.items())
        for validator in _validators(self.url, credentials, method, path, answer.status_code):
            validator.validate(value)


def _query_text(query: dict[str, object] | str | bytes) -> str:
    if isinstance(query, bytes):
        query = query.decode("latin-1")
    if isinstance(query, dict):
        words = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in query.items()
            if value is not None
        }
        query = urlencode(words)
    return f"?{query}" if query else ""


@cache
def _document(url: str, credentials: tuple[tuple[str, str], ...]) -> Json:
    answer = httpx2.get(f"{url}/openapi.json", headers=dict(credentials))
    return dict(answer.json()) if answer.status_code == 200 else {}


_FORMAT = re.compile(r"\{\w+\}")


@cache
def _validators(
    url: str, credentials: tuple[tuple[str, str], ...], method: str, path: str, status: int
) -> tuple[jsonschema.Draft202012Validator, ...]:
    document = _document(url, credentials)
    if not document:
        return ()
    error = {"$ref": "#/components/schemas/ErrorBody"}
    schemas: list[Json] = [error] if status >= 400 else []
    for template, operations in document["paths"].items():
        pattern = _FORMAT.sub("[^/]+", re.escape(template).replace(r"\{", "{").replace(r"\}", "}"))
        operation = operations.get(method.lower())
        if status >= 400 or operation is None or not re.fullmatch(pattern, path):
            continue
        response = operation["responses"].get(str(status))
        assert response is not None, f"{method} {template} answers {status}, undocumented"
        content = response.get("content", {}).get("application/json")
        if content is not None:
            schemas.append(content["schema"])
    return tuple(
        jsonschema.Draft202012Validator({**one, "components": document["components"]})
        for one in schemas
    )

"""An application asked directly, and through `/proxy`: what both sides get is the same, to the byte.

The oracle is the application itself. It answers with the request as it came, in a form that the
request asks for; so each example compares the way up and the way down. What must differ is named
in one place. Source: wire contract, section 8.
"""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.applications import App, Request, listening
from tests.serving import Target

# Of these the contract says what becomes of them.
OURS = {
    b"host", b"x-forwarded-host", b"authorization", b"x-oblien-proxy-target", b"connection",
    b"transfer-encoding",
}  # fmt: skip
# The length is that of a body that tells of headers which differ.
ADDED = {b"date", b"x-request-id", b"content-length", *OURS}
SPECIAL = OURS | {
    b"content-length", b"expect", b"te", b"trailer", b"upgrade", b"keep-alive", b"x-want",
    b"proxy-connection", b"proxy-authorization", b"proxy-authenticate", b"location", b"cookie2",
}  # fmt: skip

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NAMES = (
    st.text(TOKEN_CHARACTERS, min_size=1, max_size=12)
    .map(str.encode)
    .filter(lambda name: name.lower() not in SPECIAL)
)
VALUES = (
    st.text(
        st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=20
    )
    .map(lambda text: text.encode("latin-1"))
    .map(lambda raw: re.sub(rb"[\x80-\x9f]", b"~", raw))
) | st.sampled_from([b"", b'a "b, c";  d=e', b"\xff\xfe", b"%00", b"a, b,,c"])
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
PATHS = VISIBLE.map(lambda text: "/" + text.replace("?", "").replace("#", ""))
QUERIES = st.none() | VISIBLE.map(lambda text: text.replace("#", ""))
BODIES = st.binary(max_size=300) | st.integers(1, 200_000).map(
    lambda size: bytes(size % 251 for _ in range(size))
)


@dataclass(frozen=True)
class Want:
    """The answer that is asked for."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    framing: str  # length, chunks, close
    trailers: list[tuple[bytes, bytes]]

    def text(self) -> bytes:
        def plain(value: Any) -> Any:
            return value.decode("latin-1") if isinstance(value, bytes) else value

        fields = [self.status, plain(self.reason), self.framing]
        pairs = [
            [[plain(one) for one in pair] for pair in pairs]
            for pairs in (self.headers, self.trailers)
        ]
        return base64.b64encode(json.dumps([*fields, *pairs]).encode())

    @staticmethod
    def read(text: bytes) -> Want:
        status, reason, framing, headers, trailers = json.loads(base64.b64decode(text))
        pairs = [
            [(one.encode("latin-1"), two.encode("latin-1")) for one, two in pairs]
            for pairs in (headers, trailers)
        ]
        return Want(status, reason.encode("latin-1"), pairs[0], framing, pairs[1])


REASONS = st.sampled_from([b"OK", b"", b"Not Here At All", b"\xe9"])
WANTS = st.builds(
    Want,
    st.sampled_from([200, 201, 203, 206, 299, 301, 400, 401, 404, 418, 500, 502, 599, 999]),
    REASONS,
    HEADERS,
    st.sampled_from(["length", "chunks", "close"]),
    HEADERS,
)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: str | None
    headers: list[tuple[bytes, bytes]]
    body: bytes | None
    is_chunked: bool
    trailers: list[tuple[bytes, bytes]]
    want: Want


ASKED = st.builds(
    Asked,
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "X-ODD!"]),
    PATHS,
    QUERIES,
    HEADERS,
    st.none() | BODIES,
    st.booleans(),
    HEADERS,
    WANTS,
)


def lines(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in pairs)


def chunked(body: bytes, trailers: list[tuple[bytes, bytes]]) -> bytes:
    half = len(body) // 2
    pieces = [piece for piece in (body[:half], body[half:]) if piece]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces)
    return chunks + b"0\r\n" + lines(trailers) + b"\r\n"


def echo(connected: socket.socket, request: Request) -> None:
    """Answers as it is asked, with what it was asked."""
    found = re.search(rb"\r\nX-Want: (\S+)\r\n", request.head)
    assert found is not None
    want = Want.read(found[1])
    body = b"%b\0%b\0%b" % (request.head, request.body, request.trailers)
    head = b"HTTP/1.1 %d %b\r\n" % (want.status, want.reason) + lines(want.headers)
    match want.framing:
        case "length":
            connected.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        case "chunks":
            framed = chunked(body, want.trailers)
            connected.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + framed)
        case _:
            connected.sendall(head + b"\r\n" + body)


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with listening() as one:
        one.answer = echo
        yield one


def raw(asked: Asked, place: str, *extra: tuple[bytes, bytes]) -> bytes:
    target = place + asked.path + ("" if asked.query is None else f"?{asked.query}")
    head = f"{asked.method} {target} HTTP/1.1\r\n".encode()
    head += lines([(b"Host", b"a"), *asked.headers, *extra, (b"X-Want", asked.want.text())])
    if asked.body is None:
        return head + b"\r\n"
    if asked.is_chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(asked.body, asked.trailers)
    return head + b"Content-Length: %d\r\n\r\n" % len(asked.body) + asked.body


@dataclass(frozen=True)
class Got:
    line: bytes
    headers: list[bytes]
    body: bytes
    trailers: list[bytes]


def kept(head: bytes, drop: set[bytes]) -> list[bytes]:
    return [
        one for one in head.split(b"\r\n")[1:] if one.partition(b":")[0].lower() not in drop | {b""}
    ]


def told(port: int, request: bytes) -> Got:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        one.sendall(request)
        answer = b""
        while piece := one.recv(1 << 20):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    trailers: list[bytes] = []
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        body, trailers = _dechunk(body)
    return Got(head.split(b"\r\n")[0], kept(head, ADDED), body, trailers)


def _dechunk(rest: bytes) -> tuple[bytes, list[bytes]]:
    body = b""
    while True:
        line, _, rest = rest.partition(b"\r\n")
        if (size := int(line, 16)) == 0:
            assert rest.endswith(b"\r\n")
            return body, [one for one in rest.split(b"\r\n") if one]
        body, rest = body + rest[:size], rest[size + 2 :]


def seen(body: bytes) -> tuple[bytes, list[bytes], bytes]:
    """What the application saw: its request line, headers, and all that follows the head."""
    head, _, rest = body.partition(b"\r\n\r\n\0")
    return head.split(b"\r\n")[0], kept(head, OURS), rest


PLAIN = Want(200, b"OK", [], "length", [])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@example(Asked("GET", "/", None, [], None, False, [], PLAIN))
@example(
    Asked(
        "GET", "/a//b/../%2e%2F;x", "", [(b"x", b""), (b"X", b"2")], b"", True, [(b"t", b"")], PLAIN
    )
)
@example(Asked("POST", "/", "token=a&&=&x_oblien_targe=1", [], b"x" * 200_000, True, [], PLAIN))
@given(ASKED)
def test_directly_and_through_the_proxy_is_the_same(target: Target, app: App, asked: Asked) -> None:
    closing = (b"Connection", b"close")
    direct = told(app.port, raw(asked, "", closing))
    credentials = (b"Authorization", f"Bearer {target.token}".encode())
    passed = told(target.port, raw(asked, f"/proxy/{app.port}", closing, credentials))
    assert passed.line == direct.line
    assert passed.headers == direct.headers
    assert passed.trailers == direct.trailers
    assert seen(passed.body) == seen(direct.body)
    app.heads.clear()

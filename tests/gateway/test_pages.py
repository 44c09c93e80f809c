"""What web pages may do: CORS is the gateway's. Source: wire contract, section 1."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.gates import Gate, Gates
from tests.server.site import hello, http_only

ORIGIN = "Origin: https://page.example"


def preflight(path: str = "/files/write") -> bytes:
    lines = (
        f"OPTIONS {path} HTTP/1.1",
        "Host: gate.test",
        ORIGIN,
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: authorization,content-type",
    )
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


async def test_every_page_may_ask_and_no_credentials_are_granted(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    for raw in (
        preflight(),
        gate.asking(workspace, "/", ORIGIN),
        gate.asking(workspace, "/", ORIGIN, gen=0),
    ):
        answer = await gate.server.ask(raw)
        assert answer.headers[b"access-control-allow-origin"] == b"*"
        assert b"access-control-allow-credentials" not in answer.headers


async def test_a_preflight_is_answered_here_without_a_token(gate: Gate) -> None:
    answer = await gate.server.ask(preflight())
    assert answer.status == 204
    assert b"PUT" in answer.headers[b"access-control-allow-methods"]
    assert answer.headers[b"access-control-allow-headers"] == b"authorization,content-type"


async def test_an_options_that_is_no_preflight_is_passed_on(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    answer = await gate.server.ask(gate.asking(workspace, "/", method="OPTIONS"))
    assert (answer.status, answer.body) == (200, b"hello")
    assert (await gate.server.ask(b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n")).status == 401


async def test_only_listed_pages_may_ask(gates: Gates) -> None:
    gate = await gates.open(allow_origins=("https://good.example",))
    workspace = await gate.workspace(hello)
    for origin, allowed in (("https://good.example", True), ("https://page.example", False)):
        answer = await gate.server.ask(gate.asking(workspace, "/", f"Origin: {origin}"))
        assert answer.status == 200
        assert (b"access-control-allow-origin" in answer.headers) is allowed
    assert b"access-control-allow-origin" not in (await gate.server.ask(preflight())).headers


@pytest.mark.parametrize("name", [b"Access-Control-Allow-Origin", b"access-control-allow-origin"])
async def test_an_applications_own_headers_pass_unmodified(gate: Gate, name: bytes) -> None:
    @http_only
    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(name, b"https://page.example"), (b"access-control-allow-credentials", b"true")]
        headers.append((b"content-length", b"0"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    workspace = await gate.workspace(application)
    wire = await gate.server.connect()
    await wire.send(gate.asking(workspace, "/proxy/3000/", ORIGIN))
    head = (await wire.until(b"\r\n\r\n")).lower()
    assert head.count(b"access-control-allow-origin:") == 1
    assert b"access-control-allow-origin: https://page.example" in head
    assert b"access-control-allow-credentials: true" in head

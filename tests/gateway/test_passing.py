"""What goes through the gateway, and how it arrives."""

from __future__ import annotations

import json
from typing import Any

from tests.gateway.gates import Gate
from tests.server.site import http_only, reply

MIB = 2**20


@http_only
async def mirror(scope: Any, receive: Any, send: Any) -> None:
    """Tells what arrived."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    query = scope["query_string"]
    told = {
        "method": scope["method"],
        "target": (scope["raw_path"] + (b"?" + query if query else b"")).decode(),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    await reply(send, json.dumps(told).encode())


async def test_a_request_arrives_with_the_raw_token_in_place_of_the_gateways(gate: Gate) -> None:
    workspace = await gate.workspace(mirror)
    asked = gate.asking(workspace, "/files?path=%2Fapp&&b=1", "X-Odd: 1", "x-odd: 2")
    answer = await gate.server.ask(asked)
    assert answer.status == 200
    told = json.loads(answer.body)
    assert told["target"] == "/files?path=%2Fapp&&b=1"
    headers = [tuple(one) for one in told["headers"]]
    assert ("authorization", f"Bearer {workspace.token}") in headers
    assert [value for name, value in headers if name == "x-odd"] == ["1", "2"]
    assert ("host", "gate.test") in headers
    assert ("x-forwarded-host", "gate.test") in headers
    assert ("x-forwarded-proto", "http") in headers
    assert ("x-forwarded-for", "127.0.0.1") in headers
    assert b"eyJ" not in answer.body


async def test_what_a_client_says_of_itself_is_overwritten(gate: Gate) -> None:
    workspace = await gate.workspace(mirror)
    claims = ("X-Forwarded-For: 6.6.6.6", "x-forwarded-proto: gopher", "X-Forwarded-Host: evil")
    more = (
        "X-Forwarded-Port: 1",
        "Forwarded: for=6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "X-Request-ID: m",
    )
    answer = await gate.server.ask(gate.asking(workspace, "/", *claims, *more))
    headers = dict(map(tuple, json.loads(answer.body)["headers"]))
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == "gate.test"
    assert not {"x-forwarded-port", "forwarded", "x-real-ip"} & set(headers)
    assert headers["x-request-id"] != "m"

"""The second listener: figures, keys, health, and the answers that nginx asks for."""

from __future__ import annotations

import json

import pytest

from tests.gateway.gates import Gate, handshake
from tests.server.site import get, hello


async def test_health_and_keys(gate: Gate) -> None:
    assert (await gate.admin.ask(get("/health"))).body == b'{"status":"ok"}'
    workspace = await gate.workspace(hello)
    assert await gate.status(gate.asking(workspace)) == 200
    keys = json.loads((await gate.admin.ask(get("/keys"))).body)["keys"]
    assert [(one["kid"], one["x"]) for one in keys] == [(gate.plane.key.kid, gate.plane.key.jwk.x)]
    assert all("d" not in one for one in keys), "a private key"


async def test_figures(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    await gate.server.ask(gate.asking(workspace))
    await gate.server.ask(gate.asking(workspace, gen=0))
    answer = await gate.admin.ask(get("/metrics"))
    assert answer.headers[b"content-type"].startswith(b"text/plain")
    lines = answer.body.decode().splitlines()
    assert 'hutch_gateway_answers_total{status="200"} 1.0' in lines
    assert 'hutch_gateway_answers_total{status="401"} 1.0' in lines
    assert "hutch_gateway_in_contact 1.0" in lines
    assert "hutch_gateway_requests 0.0" in lines
    assert "hutch_gateway_known_workspaces 1.0" in lines
    assert workspace.workspace_id not in answer.body.decode().split(), "a client chose a label"
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


async def test_none_of_it_is_on_the_public_port(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    for path in ("/metrics", "/keys", "/auth"):
        assert (await gate.server.ask(gate.asking(workspace, path))).body == b"hello"


async def test_what_is_not_there_and_other_methods(gate: Gate) -> None:
    assert (await gate.admin.ask(get("/routes/ws"))).failure["code"] == "not_found"
    answer = await gate.admin.ask(b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, answer.headers[b"allow"]) == (405, b"GET, HEAD")


def _auth(target: str, *headers: str) -> bytes:
    return get("/auth", f"X-Original-URI: {target}", *headers)


async def test_nginx_is_told_where_a_request_goes_and_with_what(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    token = gate.plane.token(workspace)
    answer = await gate.admin.ask(_auth("/files?path=/a%20b", f"Authorization: Bearer {token}"))
    assert answer.status == 204
    assert answer.headers[b"x-hutch-upstream"] == f"127.0.0.1:{workspace.port}".encode()
    assert answer.headers[b"x-hutch-authorization"] == f"Bearer {workspace.token}".encode()
    assert answer.headers[b"x-hutch-target"] == b"/files?path=/a%20b"


async def test_nginx_passes_sockets_on_without_the_token(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    token = gate.plane.token(workspace)
    target = f"/ws?a=1&token={token}"
    answer = await gate.admin.ask(_auth(target, "X-Original-Upgrade: websocket"))
    assert (answer.status, answer.headers[b"x-hutch-target"]) == (204, b"/ws?a=1")
    assert (await gate.admin.ask(_auth(target))).status == 401
    assert await gate.status(handshake("/ws")) == 401


@pytest.mark.parametrize("target", ["", "files", "http://evil/"])
async def test_a_question_without_a_target_is_400(gate: Gate, target: str) -> None:
    workspace = await gate.workspace(hello)
    bearer = f"Authorization: Bearer {gate.plane.token(workspace)}"
    assert (await gate.admin.ask(_auth(target, bearer))).status == 400


async def test_nginx_is_told_of_every_refusal(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    bearer = f"Authorization: Bearer {gate.plane.token(workspace)}"
    assert (await gate.admin.ask(_auth("/", bearer))).status == 204
    gate.plane.change(workspace, public_access=False)
    await gate.settled()
    assert (await gate.admin.ask(_auth("/", bearer))).status == 403
    gate.plane.change(workspace, generation=2)
    await gate.settled()
    assert (await gate.admin.ask(_auth("/", bearer))).status == 401

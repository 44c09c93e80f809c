"""WebSocket handshakes in front of the table: which token counts, which page may ask.

What `/ws` does with a socket is tested in `test_ws.py`. A handshake that is let through to where
there is no socket is answered 404. Source: wire contract, section 1, "token" and "CORS".
"""

from __future__ import annotations

import pytest
from tests.client import Client, Wire
from tests.serving import Target

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
SWITCHED, NOWHERE = 101, 404
# Without a port there is nowhere to go, and on port 1 nobody listens.
PASSED = {"/proxy": 400, "/proxy/1/a": 502}
LET_THROUGH = {"/ws": SWITCHED, "/runtimes/local/ws": SWITCHED, **PASSED}


def shaken(target: Target, path: str, **headers: str) -> int:
    with Wire(target.url) as wire:
        return wire.send("GET", path, UPGRADE | headers).status


@pytest.mark.parametrize("path", ["/ws", "/ws/1", "/proxy", "/proxy/1/a", "/runtimes/local/ws"])
def test_a_token_in_the_query_counts_below_ws_and_proxy(target: Target, path: str) -> None:
    let_through = LET_THROUGH.get(path, NOWHERE)
    assert shaken(target, f"{path}?token={target.token}") == let_through
    assert shaken(target, f"{path}?a=b&token={target.token}") == let_through
    for token in ("", "wrong", "%FF", target.token[:-1]):
        assert shaken(target, f"{path}?token={token}") == 401
    assert shaken(target, path) == 401


@pytest.mark.parametrize("path", ["/wsx", "/files", "/files/ws", "/", "/runtimes/local/files"])
def test_elsewhere_it_counts_for_nothing(target: Target, path: str) -> None:
    assert shaken(target, f"{path}?token={target.token}") == 401


def test_without_an_upgrade_it_counts_for_nothing(target: Target) -> None:
    with Wire(target.url) as wire:
        for path in ("/ws", "/proxy/3000/"):
            assert wire.send("GET", f"{path}?token={target.token}").status == 401


def test_a_wrong_header_is_not_mended_by_the_query(target: Target) -> None:
    path = f"/ws?token={target.token}"
    assert shaken(target, path, Authorization="Bearer wrong") == 401
    assert shaken(target, "/ws", Authorization=f"Bearer {target.token}") == SWITCHED


def test_a_page_must_come_from_the_server_itself(target: Target) -> None:
    own = f"127.0.0.1:{target.port}"
    for origin in (f"http://{own}", f"https://{own}", f"HTTP://{own}"):
        assert shaken(target, f"/ws?token={target.token}", Origin=origin) == SWITCHED
    others = ("https://page.example", "http://127.0.0.1", f"http://localhost:{target.port}", "null")
    for origin in others:
        assert shaken(target, f"/ws?token={target.token}", Origin=origin) == 403
        assert shaken(target, "/ws?token=wrong", Origin=origin) == 401


def test_elsewhere_there_is_no_socket(target: Target) -> None:
    for path in ("/files", "/terminals", "/health", "/nope"):
        assert shaken(target, path, Authorization=f"Bearer {target.token}") == NOWHERE


def test_without_an_upgrade_a_socket_is_400(client: Client) -> None:
    assert "Upgrade: websocket" in client.failure("GET", "/ws", 400)["error"]

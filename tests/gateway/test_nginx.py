"""The shipped nginx configuration: nginx passes the bytes, the gateway decides."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.client import Client
from tests.gateway.plane import Plane, Workspace
from tests.gateway.through import gatewaying
from tests.serving import Target

SHIPPED = Path(__file__).parent.parent.parent / "deploy" / "nginx" / "hutch.conf"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

_AROUND = """
pid {place}/pid;
error_log {place}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
  {shipped}
}}
"""


def _configuration(place: Path, port: int, admin: int) -> str:
    """The shipped file on a free port, without TLS; nothing else of it is changed."""
    kept = [one for one in SHIPPED.read_text().splitlines() if " ssl_" not in one]
    text = "\n".join(kept)
    for old, new in (("443 ssl", f"127.0.0.1:{port}"), ("127.0.0.1:9981", f"127.0.0.1:{admin}")):
        assert old in text
        text = text.replace(old, new)
    return _AROUND.format(place=place, shipped=text)


@contextmanager
def _nginx(place: Path, admin: int) -> Iterator[str]:
    place.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = place / "nginx.conf"
    file.write_text(_configuration(place, port, admin))
    assert NGINX is not None
    command = [NGINX, "-c", str(file), "-p", str(place), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, process.stderr and process.stderr.read()
                    assert time.monotonic() < deadline
                    time.sleep(0.02)  # nginx tells nobody
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def fronted(plane: Plane, target: Target, tmp_path: Path) -> Iterator[tuple[Target, Workspace]]:
    """The shared server as nginx shows it, and its record."""
    workspace = plane.add(Workspace("ws_nginx", "127.0.0.1", target.port, target.token))
    with gatewaying(tmp_path / "gateway", plane.url) as gateway:
        admin = urlsplit(gateway.admin_url).port
        assert admin is not None
        with _nginx(tmp_path / "nginx", admin) as url:
            yield replace(target, url=url, token=plane.token(workspace)), workspace


def test_requests_streams_and_uploads_pass(fronted: tuple[Target, Workspace], tree: Path) -> None:
    target, _ = fronted
    (tree / "a b").write_text("x")
    with target.client() as client:
        names = [one["name"] for one in client.entries("/files/stream", path=tree)]
        assert names == ["a b"]
        body = b"y" * 3_000_000
        place = tree / "up"
        answer = client.request("PUT", "/files/raw", query={"path": place}, content=body)
        assert answer.status_code in {200, 201}
        assert place.read_bytes() == body
        assert client.get("/files/raw", path=place).content == body


def test_a_socket_passes_with_its_token_in_the_query(fronted: tuple[Target, Workspace]) -> None:
    target, _ = fronted
    lines = (
        f"GET /ws?token={target.token} HTTP/1.1",
        "Host: page.test",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Origin: https://page.example",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    with socket.create_connection(("127.0.0.1", target.port), timeout=10) as one:
        one.sendall("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
        assert one.recv(1000).startswith(b"HTTP/1.1 101 ")


def test_every_refusal_has_the_same_body(fronted: tuple[Target, Workspace], plane: Plane) -> None:
    target, workspace = fronted
    told = _failure(target, "nonsense", 401, "unauthorized")
    assert "token" in str(told["error"])
    plane.change(workspace, public_access=False)
    _until_refused(target)
    _failure(target, target.token, 403, "forbidden")
    plane.change(workspace, public_access=True, running=False)
    _failure(target, target.token, 503, "unavailable")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        plane.change(workspace, running=True, port=bound.getsockname()[1])
        _failure(target, plane.token(workspace), 502, "bad_gateway")


def _until_refused(target: Target) -> None:
    deadline = time.monotonic() + 5
    while _get(target, target.token).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)  # the change is on its way


def _get(target: Target, token: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}", "Origin": "https://page.example"}
    return httpx2.get(f"{target.url}/runtime", headers=headers)


def _failure(target: Target, token: str, status: int, code: str) -> dict[str, object]:
    answer = _get(target, token)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    told = dict(answer.json())
    assert (told["success"], told["code"]) == (False, code)
    assert told["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["access-control-allow-origin"] == "*"
    return told


def test_pages_and_health(fronted: tuple[Target, Workspace]) -> None:
    target, _ = fronted
    assert httpx2.get(f"{target.url}/health").json() == {"status": "ok"}
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "PUT"}
    answer = httpx2.options(f"{target.url}/files/write", headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
    assert _get(target, target.token).headers["access-control-allow-origin"] == "*"
    with Client(target.url, "") as nobody:
        nobody.failure("OPTIONS", "/files", 401)

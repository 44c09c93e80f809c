"""What the gateway costs: latency, the speed of a download, memory of a WebSocket.

Belongs here: the same requests direct and through a gateway, in turn; nginx as a plain proxy beside
it. Banned here: what a workspace does with a request.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from tests.gateway.through import fronting
from tests.serving import Target

from benches.bench import Bench, compared
from benches.ours import Server, UnansweredError, request
from benches.rows.small import press
from benches.table import Outcome, Promise, figure
from benches.timing import Side, interleave

ADDED_MS = 0.6
DOWNLOAD_RATIO = 1 / 0.6
DOWNLOAD_BYTES = 10**9
SOCKETS = 1000
SOCKET_KIB = 64.0

_NGINX = """
worker_processes 1;
pid {place}/pid;
error_log {place}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
  upstream workspace {{ server 127.0.0.1:{port}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{own};
    location / {{
      proxy_pass http://workspace; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def latency(bench: Bench) -> Iterator[Outcome]:
    """What a gateway adds to `/files/stat` on one connection, at half of all requests."""
    asked = request("/files/stat", path=bench.trees.node_modules() / "src/part0/module1.ts")
    with _through(bench) as gated, _nginx(bench.shared.target, bench.scratch) as plain:
        sides = [
            _p50("direct", bench, bench.shared.target, asked),
            _p50("through", bench, gated.target, asked),
            *([] if plain is None else [_p50("nginx", bench, plain, asked)]),
        ]
        samples = interleave(sides, bench.times(7))
    found = [a - b for a, b in zip(samples["through"], samples["direct"], strict=True)]
    yield Outcome(
        "gateway",
        "/files/stat through the gateway, added p50",
        Promise(ADDED_MS, "ms", "over direct"),
        measured=median(found),
        spread=(min(found), max(found)),
        ours=f"{median(samples['through']):.2f} ms",
        beside={name: f"{median(samples[name]):.2f} ms" for name in samples if name != "through"},
        samples=samples,
    )


def _p50(name: str, bench: Bench, target: Target, asked: str) -> Side:
    return Side(name, lambda: press(bench.programs.press, target.port, asked, target.token).p50_ms)


def download(bench: Bench) -> Iterator[Outcome]:
    """A gigabyte through the gateway, direct, and through nginx as a plain proxy."""
    file = bench.scratch / "gigabyte"
    with file.open("wb") as written:
        for _ in range(DOWNLOAD_BYTES // 10**6):
            written.write(b"x" * 10**6)
    asked = request("/files/raw", path=file)
    with _through(bench) as gated, _nginx(bench.shared.target, bench.scratch) as plain:
        sides = [gated.in_client("through", asked), bench.shared.in_client("direct", asked)]
        if plain is not None:
            sides.append(replace(bench.shared, target=plain).in_client("nginx", asked))
        one = compared(
            "gateway-download",
            "1 GB through the gateway",
            Promise(DOWNLOAD_RATIO, "x", "direct"),
            sides,
            rounds=bench.times(5),
            notes=[] if plain else ["nginx is not here"],
        )
    yield one
    if plain is not None:
        beside = [a / b for a, b in zip(one.samples["through"], one.samples["nginx"], strict=True)]
        yield Outcome(
            "gateway-download",
            "1 GB through the gateway, beside nginx",
            Promise(1.0, "x", "nginx as a plain proxy"),
            measured=median(beside),
            spread=(min(beside), max(beside)),
            ours=one.ours,
        )
    file.unlink()


def sockets(bench: Bench) -> Iterator[Outcome]:
    """Memory of a gateway for each WebSocket that is open and silent."""
    with _through(bench) as gated, ExitStack() as held:
        held.enter_context(_socket(gated.target))
        before = gated.memory_mib("VmRSS")
        for _ in range(SOCKETS):
            held.enter_context(_socket(gated.target))
        time.sleep(0.5)  # the last greetings arrive
        each = (gated.memory_mib("VmRSS") - before) * 1024 / SOCKETS
    yield Outcome(
        "gateway-sockets",
        f"memory of {SOCKETS} idle WebSockets in the gateway",
        Promise(SOCKETS * SOCKET_KIB / 1024, "MiB"),
        measured=each * SOCKETS / 1024,
        ours=f"{each:.1f} KiB each",
        notes=[f"of {figure(before, 'MiB')} at rest"],
    )


@contextmanager
def _socket(target: Target) -> Iterator[socket.socket]:
    key = base64.b64encode(os.urandom(16)).decode()
    with socket.create_connection(("127.0.0.1", target.port), timeout=30) as one:
        one.sendall(
            f"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: Bearer {target.token}\r\n\r\n".encode()
        )
        status = one.recv(65536).split(b" ", 2)[1]
        if status != b"101":
            raise UnansweredError(f"/ws answers {status.decode()}, not 101")
        yield one


@contextmanager
def _through(bench: Bench) -> Iterator[Server]:
    """A fresh gateway in front of the shared server; its pid is the gateway's."""
    place = bench.scratch / f"gateway-{time.monotonic_ns()}"
    with fronting(bench.shared.target, place) as (gateway, token):
        target = replace(bench.shared.target, url=gateway.url, token=token, pid=gateway.pid)
        yield Server(target, bench.shared.hsink)


@contextmanager
def _nginx(target: Target, scratch: Path) -> Iterator[Target | None]:
    """nginx as a plain proxy, None where it is not installed."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        yield None
        return
    place = scratch / f"nginx-{time.monotonic_ns()}"
    place.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = free.getsockname()[1]
    file = place / "nginx.conf"
    file.write_text(_NGINX.format(place=place, port=target.port, own=own))
    command = [program, "-c", str(file), "-p", str(place), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(own)
            yield replace(target, url=f"http://127.0.0.1:{own}")
        finally:
            process.terminate()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise UnansweredError("nginx does not start") from None
            time.sleep(0.02)
        else:
            return

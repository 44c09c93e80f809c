"""A control plane's internal listener that can misbehave on purpose.

Belongs here: `/routes`, `/changes`, `/keys` as the contract has them, a signing key, and faults.
Banned here: what is to be true. It runs in threads of its own, so that tests of a process and tests
in Trio use the same one.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hutch.tokens import Claims, SigningKey, sign

CREDENTIAL = "c" * 64


@dataclass
class Workspace:
    """One workspace on record."""

    workspace_id: str
    address: str
    port: int
    token: str
    generation: int = 1
    enabled: bool = True
    running: bool = True
    public_access: bool = True


class Plane:
    """What it knows, what it was asked, and how it misbehaves."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.extra_keys: list[SigningKey] = []
        self.workspaces: dict[str, Workspace] = {}
        self.asked: list[str] = []
        # Faults: a status for every answer; bytes in place of answers; seconds before an answer
        # to /routes; changes that are made and not told.
        self.status: int | None = None
        self.garbage: bytes | None = None
        self.slow = 0.0
        self.is_mute = False
        self.port = 0
        self._seq = 1
        self._log: list[tuple[int, str]] = []
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sequence(self) -> int:
        """The number of the last change."""
        return self._seq

    def add(self, workspace: Workspace) -> Workspace:
        with self._changed:
            self.workspaces[workspace.workspace_id] = workspace
            self._tell(workspace)
        return workspace

    def change(self, workspace: Workspace, **fields: Any) -> None:
        """Changes the record and tells of it, in one step."""
        with self._changed:
            for name, value in fields.items():
                setattr(workspace, name, value)
            self._tell(workspace)

    def delete(self, workspace: Workspace) -> None:
        with self._changed:
            del self.workspaces[workspace.workspace_id]
            self._tell(workspace)

    def forget(self) -> None:
        """As after a restart with an older store: what was told is not known any more."""
        with self._changed:
            self._log.clear()
            self._seq = 1
            self._changed.notify_all()

    def _tell(self, workspace: Workspace) -> None:
        self._seq += 1
        self._log.append((self._seq, workspace.workspace_id))
        self._changed.notify_all()

    def token(self, workspace: Workspace, **claims: Any) -> str:
        """A gateway token for it; claims may be given otherwise."""
        now = int(time.time())
        told = {
            "sub": workspace.workspace_id,
            "ip": workspace.address,
            "port": workspace.port,
            "gen": workspace.generation,
            "jti": "one",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            **claims,
        }
        return sign(Claims(**told), self.key)

    def start(self) -> None:
        """Listens: where it did before, if it did."""
        self._server = _Server(self, self.port)
        self.port = self._server.server_address[1]
        poll = {"poll_interval": 0.01}
        threading.Thread(target=self._server.serve_forever, kwargs=poll, daemon=True).start()

    def stop(self) -> None:
        """As a process that was killed: nobody listens, every connection is closed."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for one in self._connections:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._connections.clear()
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        if self._server is not None:
            self.stop()

    def note_connection(self, connected: socket.socket) -> None:
        self._connections.append(connected)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        status, body = 200, self._body(handler)
        if self.garbage is not None:
            handler.wfile.write(self.garbage)
            handler.close_connection = True
            return
        if body is None:
            status, body = 404, {"success": False, "error": "none", "code": "not_found"}
        data = json.dumps(body).encode()
        handler.send_response(self.status or status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _body(self, handler: BaseHTTPRequestHandler) -> Any:
        assert handler.headers["Authorization"] == f"Bearer {CREDENTIAL}"
        parts = urlsplit(handler.path)
        if parts.path == "/keys":
            keys = [one.jwk for one in (self.key, *self.extra_keys)]
            return {"keys": [{"kid": k.kid, "kty": k.kty, "crv": k.crv, "x": k.x} for k in keys]}
        if parts.path == "/changes":
            query = parse_qs(parts.query)
            since = int(query["since"][0]) if "since" in query else None
            return self._changes(since, float(query.get("wait", ["0"])[0]))
        with self._changed:
            found = self.workspaces.get(unquote(parts.path.removeprefix("/routes/")))
            record = None if found is None else asdict(found)
        time.sleep(self.slow)
        return record

    def _changes(self, since: int | None, wait: float) -> Any:
        deadline = time.monotonic() + wait
        server = self._server
        with self._changed:
            while True:
                if since is None or since > self._seq:
                    return {"seq": self._seq, "reset": True}
                told = {one for seq, one in self._log if seq > since}
                if told and not self.is_mute:
                    return {"seq": self._seq, "workspaces": sorted(told)}
                left = deadline - time.monotonic()
                if left <= 0 or self._server is not server:
                    return {"seq": since, "workspaces": []}
                self._changed.wait(min(left, 0.5))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, plane: Plane, port: int) -> None:
        self._plane = plane

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                with suppress(OSError):
                    plane.answer(self)

        super().__init__(("127.0.0.1", port), Handler)

    def get_request(self) -> Any:
        connected, address = super().get_request()
        self._plane.note_connection(connected)
        return connected, address

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def planning() -> Iterator[Plane]:
    """A plane that answers, ended at the end."""
    plane = Plane()
    plane.start()
    try:
        yield plane
    finally:
        plane.close()

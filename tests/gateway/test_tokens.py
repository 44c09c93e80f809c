"""Tokens that open nothing: each is answered with 401, and no workspace sees a byte."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from hutch.tokens import SigningKey
from tests.gateway.gates import Gate, asking, until
from tests.gateway.plane import Plane, Workspace
from tests.server.site import hello, http_only, reply

Forge = Callable[[Plane, Workspace], str]


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    head, body, signature = token.split(".")
    return _json(head), _json(body), signature


def _json(part: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _signed(plane: Plane, header: dict[str, Any], claims: dict[str, Any]) -> str:
    text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{text}.{_b64(plane.key.private.sign(text.encode()))}"


def _with_header(**more: Any) -> Forge:
    def forge(plane: Plane, workspace: Workspace) -> str:
        header, claims, _ = _parts(plane.token(workspace))
        return _signed(plane, {**header, **more}, claims)

    return forge


def _with_claims(**more: Any) -> Forge:
    def forge(plane: Plane, workspace: Workspace) -> str:
        header, claims, _ = _parts(plane.token(workspace))
        told = {name: value for name, value in {**claims, **more}.items() if value is not None}
        return _signed(plane, header, told)

    return forge


def _alg_none(plane: Plane, workspace: Workspace) -> str:
    header, claims, _ = _parts(plane.token(workspace))
    text = f"{_b64(json.dumps({**header, 'alg': 'none'}).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{text}."


def _hs256(plane: Plane, workspace: Workspace) -> str:
    header, claims, _ = _parts(plane.token(workspace))
    header = {**header, "alg": "HS256"}
    text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    public = base64.urlsafe_b64decode(plane.key.jwk.x + "=")
    return f"{text}.{_b64(hmac.digest(public, text.encode(), hashlib.sha256))}"


def _other_key(plane: Plane, workspace: Workspace) -> str:
    own, plane.key = plane.key, SigningKey.generate()
    try:
        return plane.token(workspace)
    finally:
        plane.key = own


def _other_key_same_name(plane: Plane, workspace: Workspace) -> str:
    header, claims, _ = _parts(plane.token(workspace))
    text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{text}.{_b64(SigningKey.generate().private.sign(text.encode()))}"


NOW = int(time.time())

BAD: dict[str, Forge] = {
    "nonsense": lambda *_: "nonsense",
    "empty": lambda *_: "",
    "raw token": lambda _, workspace: workspace.token,
    "alg none": _alg_none,
    "HS256 with the public key": _hs256,
    "unknown key": _other_key,
    "another key under the same name": _other_key_same_name,
    "expired": _with_claims(exp=NOW - 60),
    "not yet valid": _with_claims(nbf=NOW + 600),
    "another audience": _with_claims(aud="api"),
    "another issuer": _with_claims(iss="evil"),
    "no audience": _with_claims(aud=None),
    "no expiry": _with_claims(exp=None),
    "no generation": _with_claims(gen=None),
    "no workspace": _with_claims(sub=None),
    "crit": _with_header(crit=["exp"]),
    "b64": _with_header(b64=False),
    "jwk": _with_header(jwk={"kty": "OKP"}),
    "padding": lambda plane, workspace: plane.token(workspace) + "=",
    "padding of a part": lambda plane, workspace: plane.token(workspace).replace(".", "=.", 1),
    "stray bits": lambda plane, workspace: (
        plane.token(workspace)[:-1] + _stray(plane.token(workspace)[-1])
    ),
    "other alphabet": lambda plane, workspace: "+" + plane.token(workspace)[1:],
    "100 KB": lambda *_: "e" * 100_000,
    "deep": lambda *_: f"{_b64(b'[' * 2000)}.{_b64(b'{}')}.{_b64(b'x')}",
    "an older generation": _with_claims(gen=0),
    "a generation that never was": _with_claims(gen=2),
    "a workspace that never was": _with_claims(sub="ws_none"),
    "a workspace's name that is a path": _with_claims(sub="../keys"),
    "another port": _with_claims(port=1),
    "another address of the network": _with_claims(ip="127.0.0.2"),
    "an address outside": _with_claims(ip="192.0.2.1"),
    "the address of the cloud's metadata": _with_claims(ip="169.254.169.254", port=80),
    "an address in another spelling": _with_claims(ip="127.000.000.001"),
    "a name for an address": _with_claims(ip="localhost"),
    "IPv6": _with_claims(ip="::1"),
    "IPv4 in IPv6": _with_claims(ip="::ffff:127.0.0.1"),
}


def _stray(last: str) -> str:
    """The next letter: of a signature's last one only the upper two bits count."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return letters[letters.index(last) ^ 1]


class Counting:
    """A workspace that counts what reaches it."""

    def __init__(self) -> None:
        self.seen = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await hello(scope, receive, send)
            return
        self.seen += 1
        await reply(send)


@pytest.mark.parametrize("forge", BAD.values(), ids=BAD)
async def test_a_bad_token_is_401_and_reaches_nobody(gate: Gate, forge: Forge) -> None:
    app = Counting()
    workspace = await gate.workspace(app)
    token = forge(gate.plane, workspace)
    answer = await gate.server.ask(asking(token, "/files"))
    assert answer.status == 401, answer.body
    assert answer.failure["code"] == "unauthorized"
    assert answer.headers[b"www-authenticate"].startswith(b"Bearer")
    assert not token or token.encode() not in answer.body
    assert app.seen == 0
    assert (await gate.server.ask(gate.asking(workspace))).status == 200


HEADERS = {
    "none": (),
    "two": ("Authorization: Bearer {token}", "Authorization: Bearer {token}"),
    "basic": ("Authorization: Basic {token}",),
    "in the query": (),
    "as a cookie": ("Cookie: token={token}",),
}


@pytest.mark.parametrize("case", HEADERS)
async def test_a_token_counts_in_one_place(gate: Gate, case: str) -> None:
    app = Counting()
    workspace = await gate.workspace(app)
    token = gate.plane.token(workspace)
    target = f"/ws?token={token}" if case == "in the query" else "/"
    lines = [f"GET {target} HTTP/1.1", "Host: gate.test", *HEADERS[case]]
    raw = "".join(f"{line}\r\n" for line in lines).format(token=token).encode() + b"\r\n"
    assert (await gate.server.ask(raw)).status == 401
    assert app.seen == 0


async def test_no_bit_of_a_token_can_be_flipped(gate: Gate) -> None:
    app = Counting()
    workspace = await gate.workspace(app)
    token = gate.plane.token(workspace).encode()
    statuses: dict[int, int] = {}

    async def ask(position: int, flipped: bytes) -> None:
        answer = await gate.server.ask(asking(flipped.decode("latin-1")))
        statuses[position] = answer.status

    async with trio.open_nursery() as nursery:
        for position in range(len(token)):
            # Bits of which none makes a control character of it: those no header may hold.
            bit = 1 if token[position] ^ 1 not in b" \x7f" else 2
            flipped = bytearray(token)
            flipped[position] ^= bit
            nursery.start_soon(ask, position, bytes(flipped))
    assert len(statuses) == len(token)
    assert set(statuses.values()) == {401}
    assert app.seen == 0


async def test_a_stranger_is_told_the_same_everywhere(gate: Gate) -> None:
    for path in ("/", "/files", "/metrics", "/keys", "/auth", "/routes/ws", "/%2e%2e/health"):
        answer = await gate.server.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (answer.status, answer.failure["code"]) == (401, "unauthorized"), path


async def test_health_is_open_and_leads_to_the_workspace_with_a_token(gate: Gate) -> None:
    for path in ("/health", "/runtimes/local/health"):
        for token in ("", "nonsense"):
            answer = await gate.server.ask(asking(token, path))
            assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    workspace = await gate.workspace(hello)
    assert (await gate.server.ask(gate.asking(workspace, "/health"))).body == b"hello"


async def test_a_request_that_began_may_outlive_its_token(gate: Gate) -> None:
    go_on = trio.Event()

    @http_only
    async def slow(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] != "/slow":
            await reply(send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"last"})

    workspace = await gate.workspace(slow)
    now = int(time.time())
    # The leeway is five seconds: this one has a little more than one left.
    token = gate.plane.token(workspace, iat=now - 60, nbf=now - 60, exp=now - 3)
    wire = await gate.server.connect()
    await wire.send(asking(token, "/slow"))
    await wire.until(b"first")

    async def has_expired() -> bool:
        return await gate.status(asking(token)) == 401

    await until(has_expired)
    go_on.set()
    await wire.until(b"last")


async def test_a_key_that_is_new_is_found_at_once(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    assert (await gate.server.ask(gate.asking(workspace))).status == 200
    gate.plane.extra_keys.append(gate.plane.key)
    old = gate.plane.token(workspace)
    gate.plane.key = SigningKey.generate()
    assert (await gate.server.ask(gate.asking(workspace))).status == 200
    assert (await gate.server.ask(asking(old))).status == 200


async def test_strangers_with_unknown_keys_do_not_make_the_control_plane_busy(gate: Gate) -> None:
    workspace = await gate.workspace(hello)
    await gate.server.ask(gate.asking(workspace))
    gate.plane.asked.clear()
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await gate.server.ask(asking(_other_key(gate.plane, workspace)))).status)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert set(statuses) == {401}
    assert gate.plane.asked.count("/keys") <= 3


async def test_an_address_that_belongs_to_another_now_is_refused(gate: Gate) -> None:
    mine = await gate.workspace(hello, "mine")
    old = gate.plane.token(mine)
    assert (await gate.server.ask(asking(old))).status == 200
    app = Counting()
    other = await gate.workspace(app, "other")
    gate.plane.delete(mine)
    # The other has mine's address, as far as the token of mine knows.
    gate.plane.change(other, address=mine.address, port=other.port)
    stolen = gate.plane.token(mine, port=other.port)
    await gate.settled()
    for token in (old, stolen, gate.plane.token(other, sub="mine")):
        assert (await gate.server.ask(asking(token))).status == 401
    assert app.seen == 0
    assert (await gate.server.ask(gate.asking(other))).status == 200

"""TLS in front of the same server: what a client sees, and what it can't do with it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from hutch.server import Tls
from hutch.wire.config import TlsLimits
from hutch.wire.errors import Failure
from tests.server.site import (
    PATIENCE,
    Server,
    Site,
    Wire,
    echo,
    eventually,
    get,
    hello,
    http_only,
    post,
    resident_kib,
)

MIB = 2**20


@dataclass
class Paper:
    """Files with a certificate for `hutch.test`, and who signed it."""

    authority: trustme.CA
    certificate: Path
    key: Path

    def renew(self) -> None:
        issued = self.authority.issue_cert("hutch.test", "127.0.0.1")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))

    def tls(self, **limits: float) -> Tls:
        return Tls(self.certificate, self.key, TlsLimits(**limits))


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    made = Paper(trustme.CA(), tmp_path / "cert.pem", tmp_path / "key.pem")
    made.renew()
    return made


def trusting(paper: Paper, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    paper.authority.configure_trust(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


class SecureWire(Wire):
    """A client's end that encrypts."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        super().__init__(stream)  # type: ignore[arg-type]  # the same three methods
        self.secure = stream


@asynccontextmanager
async def connected(
    server: Server, context: ssl.SSLContext, *, receive_buffer: int | None = None
) -> AsyncIterator[SecureWire]:
    plain = await server.connect(receive_buffer=receive_buffer)
    stream = trio.SSLStream(
        plain.stream, context, server_hostname="hutch.test", https_compatible=True
    )
    with trio.fail_after(PATIENCE):
        await stream.do_handshake()
    yield SecureWire(stream)
    await trio.aclose_forcefully(stream)


async def test_requests_are_answered_one_after_the_other(site: Site, paper: Paper) -> None:
    server = await site.serve(echo, tls=paper.tls())
    assert server.url.startswith("https://")
    async with connected(server, trusting(paper, "h2", "http/1.1")) as wire:
        assert wire.secure.selected_alpn_protocol() == "http/1.1"
        for size in (0, 3, 100_000, 3 * MIB):
            await wire.send(post("/", b"x" * size))
            assert (await wire.answer()).body == b"x" * size


async def test_the_application_learns_that_it_is_https(site: Site, paper: Paper) -> None:
    async def handler(scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"x-scheme", scope["scheme"].encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    server = await site.serve(http_only(handler), tls=paper.tls())
    async with connected(server, trusting(paper)) as wire:
        await wire.send(get("/"))
        assert (await wire.answer()).headers[b"x-scheme"] == b"https"


async def test_the_end_of_an_answer_and_of_tls_can_be_told_from_a_cut(
    site: Site, paper: Paper
) -> None:
    server = await site.serve(hello, tls=paper.tls())
    async with connected(server, trusting(paper)) as wire:
        strict = trio.SSLStream(
            (await server.connect()).stream, trusting(paper), server_hostname="hutch.test"
        )
        await strict.send_all(get("/", "Connection: close"))
        with trio.fail_after(PATIENCE):
            while await strict.receive_some():
                pass  # without close_notify it raises BrokenResourceError
        await wire.send(get("/", "Connection: close"))
        assert (await wire.answer()).body == b"hello"
        await trio.aclose_forcefully(strict)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_in_use_are_spoken(
    site: Site, paper: Paper, version: ssl.TLSVersion
) -> None:
    server = await site.serve(hello, tls=paper.tls())
    context = trusting(paper)
    context.minimum_version = context.maximum_version = version
    async with connected(server, context) as wire:
        await wire.send(get("/"))
        assert (await wire.answer()).body == b"hello"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_an_older_version_is_refused(site: Site, paper: Paper) -> None:
    server = await site.serve(hello, tls=paper.tls())
    context = trusting(paper)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(trio.BrokenResourceError) as refused:
        async with connected(server, context):
            pass
    assert "alert" in str(refused.value.__cause__).lower()


async def test_plain_http_is_told_so(site: Site, paper: Paper) -> None:
    server = await site.serve(hello, tls=paper.tls())
    answer = await server.ask(get("/"))
    assert answer.status == 400
    assert "https://" in answer.failure["error"]


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x40\x00" + b"\1\0\x3f\xfc"])
async def test_a_handshake_that_stalls_is_closed(site: Site, paper: Paper, said: bytes) -> None:
    server = await site.serve(hello, tls=paper.tls(handshake_seconds=0.05))
    wire = await server.connect()
    await wire.send(said)
    await wire.closed()


@pytest.mark.parametrize("said", [b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 70_000])
async def test_garbage_is_closed_at_once(site: Site, paper: Paper, said: bytes) -> None:
    server = await site.serve(hello, tls=paper.tls())
    wire = await server.connect()
    await wire.send(said)
    await wire.all()  # an alert, perhaps
    async with connected(server, trusting(paper)) as good:
        await good.send(get("/"))
        assert (await good.answer()).body == b"hello"


async def test_a_record_that_was_tampered_with_ends_the_connection(
    site: Site, paper: Paper
) -> None:
    server = await site.serve(hello, tls=paper.tls())
    async with connected(server, trusting(paper)) as wire:
        await wire.secure.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        await wire.all()


async def test_a_client_that_goes_away_is_noticed(site: Site, paper: Paper) -> None:
    gone = trio.Event()

    async def handler(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    server = await site.serve(http_only(handler), tls=paper.tls())
    async with connected(server, trusting(paper)) as wire:
        await wire.send(get("/"))
        await trio.aclose_forcefully(wire.secure)
        with trio.fail_after(PATIENCE):
            await gone.wait()


async def test_a_reader_that_stalls_is_closed_and_holds_little(site: Site, paper: Paper) -> None:
    sent = 0
    ended = trio.Event()

    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * MIB, "more_body": True})
                sent += MIB
        finally:
            ended.set()

    server = await site.serve(http_only(handler), tls=paper.tls(), send_idle_seconds=0.4)
    before = resident_kib()
    async with connected(server, trusting(paper), receive_buffer=4096) as wire:
        await wire.send(get("/"))
        with trio.fail_after(PATIENCE):
            await ended.wait()
    assert sent <= 8 * MIB
    assert resident_kib() - before < 16 * 1024


async def test_a_slow_reader_is_not_taken_for_a_stalled_one(site: Site, paper: Paper) -> None:
    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % (4 * MIB))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * (4 * MIB)})

    server = await site.serve(http_only(handler), tls=paper.tls(), send_idle_seconds=0.4)
    async with connected(server, trusting(paper), receive_buffer=16 * 1024) as wire:
        await wire.send(get("/"))
        await wire.until(b"\r\n\r\n")
        found, wire.rest = len(wire.rest), b""
        for _ in range(20):  # a second, in which the deadline passes twice
            await trio.sleep(0.05)
            found += len(await wire.secure.receive_some(16 * 1024))
        while found < 4 * MIB and (more := await wire.some()):
            found += len(more)
        assert found == 4 * MIB


async def test_a_certificate_is_renewed_under_way(site: Site, paper: Paper) -> None:
    tls = paper.tls()
    server = await site.serve(hello, tls=tls)
    async with connected(server, trusting(paper)) as before:
        paper.renew()
        tls.reload()
        async with connected(server, trusting(paper)) as after:
            assert _serial(before) != _serial(after)
            for wire in (before, after):
                await wire.send(get("/"))
                assert (await wire.answer()).body == b"hello"
        paper.key.write_bytes(b"no key")
        with pytest.raises(Failure, match="key\\.pem"):
            tls.reload()
        async with connected(server, trusting(paper)) as still:
            assert _serial(still) == _serial(after)


def _serial(wire: SecureWire) -> str:
    found = wire.secure.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def test_bad_files_are_named(paper: Paper, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="none\\.pem: No such file"):
        Tls(tmp_path / "none.pem", paper.key)
    other = trustme.CA().issue_cert("hutch.test")
    paper.key.write_bytes(other.private_key_pem.bytes())
    with pytest.raises(Failure, match="no certificate chain with its key"):
        paper.tls()


async def test_a_full_server_closes_without_a_word_in_plain_text(site: Site, paper: Paper) -> None:
    server = await site.serve(hello, tls=paper.tls())
    held = [await server.connect() for _ in range(513)]
    await eventually(lambda: _is_closed(held[0].stream.socket), "the oldest stranger stays")


def _is_closed(one: trio.socket.SocketType) -> bool:
    peek = socket.MSG_PEEK | socket.MSG_DONTWAIT
    with socket.socket(fileno=socket.dup(one.fileno())) as same:
        try:
            return same.recv(1, peek) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

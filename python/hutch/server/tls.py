"""TLS on a connection: certificates that can be changed under way, and a transport that encrypts.

Belongs here: the context in force, `TlsTransport`. Banned here: HTTP, and options. Only the
standard library's OpenSSL works on the bytes, in memory; sockets, waiting and deadlines stay
those of `transport`, so that what holds for a plain client that stalls holds for this one too.

TLS 1.2 is the least (RFC 8996), renegotiation is off, and the only protocol offered is http/1.1.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from hutch.server.answers import plain_answer
from hutch.server.gone import ClientGone
from hutch.server.stalls import Stalls
from hutch.server.transport import RECEIVE_BYTES, Transport
from hutch.wire.config import ServerLimits, TlsLimits
from hutch.wire.errors import Failure

# Encrypted and waiting for a client that does not read: at most this, and records' overhead.
_PIECE: Final = 64 * 1024
_RECORD: Final = 16 * 1024
# What the protocol may want to say by itself (alerts, key updates) while nobody sends.
_MOST_UNASKED: Final = 16 * 1024


class Tls:
    """A certificate with its key, read from files, and again on demand."""

    def __init__(self, certificate: Path, key: Path, limits: TlsLimits | None = None) -> None:
        """Raises `Failure` (bad_request) naming what cannot be read or does not fit."""
        self.limits = limits or TlsLimits()
        self._certificate = certificate
        self._key = key
        self._context = _context(certificate, key)

    @classmethod
    def opened(
        cls, certificate: Path | None, key: Path | None, limits: TlsLimits | None = None
    ) -> Tls | None:
        """What `--tls-cert` and `--tls-key` name; None where neither does. Raises as making it."""
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            raise Failure("bad_request", "--tls-cert, --tls-key: give both, or neither")
        return cls(certificate, key, limits)

    @property
    def context(self) -> ssl.SSLContext:
        """What the next connection is opened with."""
        return self._context

    def reload(self) -> None:
        """Reads both files again; connections that stand stay. Raises as making it does, and
        then what was in force stays in force."""
        self._context = _context(self._certificate, self._key)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for path in (certificate, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise Failure("bad_request", f"TLS: {path}: {error.strerror}") from None
    try:
        # Without the callback OpenSSL asks the terminal for an encrypted key's password.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError):
        raise Failure(
            "bad_request",
            f"TLS: {certificate} and {key} are no certificate chain with its key; give both as "
            "PEM, the key without a password",
        ) from None
    return context


class TlsTransport(Transport):
    """A connection that encrypts; `begin` comes before everything else."""

    def __init__(
        self,
        connected: socket.socket,
        stalls: Stalls,
        tls: Tls,
        limits: ServerLimits,
    ) -> None:
        super().__init__(connected, stalls)
        self._handshake_seconds = tls.limits.handshake_seconds
        self._handshake_bytes = limits.header_bytes
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def begin(self) -> None:
        """The handshake, within its deadline. Raises `ClientGone` where it fails."""
        with trio.move_on_after(self._handshake_seconds):
            await self._handshake()
            return
        raise ClientGone("the TLS handshake was not complete in time")

    async def _handshake(self) -> None:
        budget = self._handshake_bytes
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError as error:
                await self._refuse(error)
                raise ClientGone(f"TLS: {error.reason}") from None
            else:
                await self._flush()
                return
            data = await self._take(RECEIVE_BYTES)
            budget -= len(data)
            if not data or budget < 0:
                raise ClientGone("the client left in its TLS handshake")
            self._incoming.write(data)

    async def _refuse(self, error: ssl.SSLError) -> None:
        """The alert; to whoever spoke plain HTTP, what a person can read."""
        if error.reason == "HTTP_REQUEST":
            told = Failure("bad_request", "plain HTTP on a port that speaks TLS; use https://")
            await super().send([plain_answer(told)])
        else:
            await self._flush()

    async def receive(self, most: int = RECEIVE_BYTES) -> bytes:
        """As a plain connection's; b"" too where the client ended TLS or broke it."""
        while self.is_open:
            data = self._decrypted(most)
            if data is not None:
                return data
            if self._outgoing.pending > _MOST_UNASKED:
                self.reset()
                break
            raw = await self._take(RECEIVE_BYTES)
            if raw:
                self._incoming.write(raw)
            else:
                self._incoming.write_eof()
        return b""

    def _decrypted(self, most: int) -> bytes | None:
        """What lies there decrypted, b"" at the end, None where more has to come."""
        pieces: list[bytes] = []
        while most > 0:
            try:
                piece = self._tls.read(min(most, _RECORD))
            except ssl.SSLWantReadError:
                return b"".join(pieces) if pieces else None
            except ssl.SSLError:
                break  # told again by the next read
            if not piece:
                break
            pieces.append(piece)
            most -= len(piece)
        return b"".join(pieces)

    async def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """As a plain connection's."""
        self._require_whole()
        rest = memoryview(b"".join(pieces))
        while rest:
            try:
                taken = self._tls.write(rest[:_PIECE])
            except ssl.SSLError:
                raise ClientGone("the client broke TLS") from None
            rest = rest[taken:]
            await self._flush()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await super().send([self._outgoing.read()])

    async def finish(self, *, seconds: float, most: int) -> None:
        """As a plain connection's, with TLS's own end before the connection's."""
        with suppress(ClientGone), trio.move_on_after(seconds):
            await self._say_end()
        await super().finish(seconds=seconds, most=most)

    async def end_sending(self) -> None:
        """As a plain connection's, with TLS's own end before it. Raises `ClientGone`."""
        await self._say_end()
        await super().end_sending()

    async def _say_end(self) -> None:
        self._require_whole()
        with suppress(ssl.SSLError):
            self._tls.unwrap()  # asks for the client's end too, which need not come
        await self._flush()

"""Configuration: one frozen `Config`, one frozen `Limits`, every duration and every bound.

Belongs here: the fields, their defaults and their words; from them come the command's
options, the environment names, `--help` and the documentation's table. Banned here: reading
files or the environment (`hutch.cli` does).

A constant without a reason is a guess: where a neighbour's precedent or the contract sets a
value, the field's text says so.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from hutch.wire.errors import Failure
from hutch.wire.paths import shorten

KIB: Final = 1024
MIB: Final = 1024 * 1024
# Eleven days. The kernel counts TCP_USER_TIMEOUT in milliseconds and 31 bits.
MOST_SECONDS: Final = 1_000_000
# What JSON numbers hold exactly.
MOST_BYTES: Final = 2**53

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")

RIPGREP_URL: Final = "https://github.com/BurntSushi/ripgrep/releases/download"


def limit(default: float, text: str) -> Any:
    """A field of limits: its default, and the words of its option."""
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerLimits:
    """What every server of ours has, whatever it serves: bounds and deadlines of connections.

    In bytes, seconds or a count, as the name says. Tests run with 50 ms where production has 30 s.
    """

    header_bytes: int = limit(256 * KIB, "largest request line with headers")
    send_idle_seconds: float = limit(300.0, "a response of which nothing is taken is closed")
    stalled_responses: int = limit(64, "above this many stalled responses the oldest go early")
    stalled_grace_seconds: float = limit(30.0, "but none that stalled less than this")
    body_idle_seconds: float = limit(60.0, "a request body of which nothing arrives is given up")
    keep_alive_seconds: float = limit(75.0, "an idle connection is closed")
    header_seconds: float = limit(20.0, "a request line with headers must be there whole")
    drain_bytes: int = limit(1 * MIB, "unread request body taken so that an early answer arrives")
    drain_seconds: float = limit(2.0, "and how long it is taken")
    grace_seconds: float = limit(5.0, "for requests under way to finish after SIGTERM")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiLimits(ServerLimits):
    """What a server with JSON bodies of its own has besides."""

    body_bytes: int = limit(96 * MIB, "largest JSON request body")


# Without slots: two bases with slots of their own cannot be put together.
@dataclass(frozen=True, kw_only=True)
class TlsLimits:
    """What a server that may be given a certificate has besides."""

    handshake_seconds: float = limit(10.0, "a TLS handshake must be complete")


@dataclass(frozen=True, kw_only=True)
class SocketLimits:
    """What a server whose application speaks WebSocket itself has besides."""

    message_bytes: int = limit(4 * MIB, "largest WebSocket message")
    ping_seconds: float = limit(20.0, "a WebSocket is pinged")
    pong_seconds: float = limit(60.0, "a WebSocket that answers no ping is closed")


@dataclass(frozen=True, kw_only=True)
class ForwardLimits:
    """What a server that passes requests on has besides."""

    connect_seconds: float = limit(5.0, "to reach what a request is passed on to")
    # A model that thinks says nothing for minutes.
    upstream_idle_seconds: float = limit(
        600.0, "a request passed on is given up when not a byte moves"
    )


@dataclass(frozen=True, kw_only=True)
class KeepLimits(ForwardLimits):
    """What a server that keeps connections for the next request passed on has besides."""

    # Below keep_alive_seconds: the other end must not be the first to close.
    upstream_kept_seconds: float = limit(20.0, "a connection is kept for the next one passed on")
    upstream_kept: int = limit(256, "most such connections")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(ApiLimits, SocketLimits, ForwardLimits):
    """Every bound and every deadline of the runtime."""

    content_bytes: int = limit(50 * MIB, "largest file read or written whole in JSON, or inlined")
    listing_entries: int = limit(50_000, "most entries of GET /files (the stream has no cap)")
    silence_seconds: float = limit(15.0, "silence after which a stream sends a sign of life")
    delete_seconds: float = limit(3600.0, "longest removal of one tree")
    copy_seconds: float = limit(3600.0, "longest copy, move or change of modes of one tree")
    archive_entries: int = limit(2_000_000, "most entries of an uploaded archive")
    archive_bytes: int = limit(1024**4, "most bytes of files in an uploaded archive")
    # A file of zeros makes 1,000; sources make 5. The first 64 MiB are free.
    archive_ratio: int = limit(200, "most bytes out of an uploaded archive for each byte of it")
    # A tree may be deeper than PATH_MAX, which bounds a single call only.
    archive_name_bytes: int = limit(64 * KIB, "longest name in an uploaded archive")
    searches: int = limit(64, "content searches at once")
    search_answer_bytes: int = limit(32 * MIB, "matches in one answer of GET /files/search")
    search_memory_bytes: int = limit(
        1024 * MIB, "address space of a ripgrep, which holds a line whole"
    )
    ripgrep_start_seconds: float = limit(5.0, "rg --version must have answered")
    download_idle_seconds: float = limit(30.0, "a download of which nothing arrives is given up")
    # ripgrep 14.1.1 is 2.5 MB packed and 6 MB unpacked.
    download_bytes: int = limit(64 * MIB, "largest release archive, and what is taken out of it")
    exec_tasks: int = limit(50, "most running commands")
    exec_finished: int = limit(10_000, "most finished commands that are remembered")
    exec_finished_bytes: int = limit(256 * MIB, "output of finished commands kept together")
    exec_memory_bytes: int = limit(256 * KIB, "output of a command in memory, each stream")
    exec_answer_bytes: int = limit(4 * MIB, "end of each stream that an answer carries")
    exec_input_bytes: int = limit(16 * MIB, "largest piece of input to a command")
    exec_input_seconds: float = limit(30.0, "input of which a command takes nothing is given up")
    exec_drain_seconds: float = limit(0.1, "output still awaited once a command has exited")
    exec_kill_seconds: float = limit(5.0, "from SIGTERM to SIGKILL when a command's time is up")
    exec_stop_seconds: float = limit(3.0, "from SIGTERM to SIGKILL when the server ends")
    exec_character_seconds: float = limit(0.5, "half a character waits for its rest in an event")
    exec_silent_seconds: float = limit(10.0, "a waiting call gets its first sign of life")
    exec_ttl_seconds: float = limit(300.0, "a finished command is remembered, if not told")
    exec_keys: int = limit(100_000, "most idempotency keys that are remembered")
    exec_key_seconds: float = limit(24 * 3600.0, "how long an idempotency key is remembered")
    terminals: int = limit(10, "most live terminals")
    terminals_ended: int = limit(20, "most ended terminals that stay listed")
    terminal_scrollback_bytes: int = limit(64 * KIB, "scrollback of a terminal, if not told")
    terminal_lag_bytes: int = limit(1 * MIB, "a client further behind on a terminal skips ahead")
    terminal_input_bytes: int = limit(4 * MIB, "input that a terminal's program has not read")
    terminal_input_seconds: float = limit(0.2, "input waits for room, and is refused then")
    # A quarter of a frame of a 60 Hz screen.
    terminal_frame_seconds: float = limit(0.004, "output is gathered after a frame was sent")
    terminal_hangup_seconds: float = limit(1.0, "from SIGHUP to SIGKILL when a terminal is closed")
    socket_outbox_bytes: int = limit(1 * MIB, "text frames that wait for a client of /ws")
    socket_idle_seconds: float = limit(30.0, "a socket of which nothing is taken is closed")
    watchers: int = limit(5, "most watchers")
    # A kernel tree has 6,000; the system's own limit, on a large machine, is a million.
    watch_directories: int = limit(1_048_576, "most directories watched, all watchers together")
    watch_debounce_seconds: float = limit(0.05, "from a path's first change to its event")
    watch_events: int = limit(65_536, "events that a watcher's change log keeps")
    watch_log_bytes: int = limit(12 * MIB, "text of the events that a change log keeps")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What `hutch serve` was told, complete."""

    host: str = "127.0.0.1"
    port: int = 9990
    token: str = field(repr=False)
    token_file: Path | None = None
    state_dir: Path
    cwd: Path = Path("/root")
    allow_origins: tuple[str, ...] = ()
    ready_file: Path | None = None
    ripgrep_url: str = RIPGREP_URL
    ripgrep_dir: Path = Path("/usr/local/bin")
    limits: Limits = field(default_factory=Limits)


L = TypeVar("L", bound=ServerLimits)


@dataclass(frozen=True, slots=True)
class LimitField:
    """One limit as an option: `--body-bytes`, `HUTCH_BODY_BYTES`."""

    name: str
    kind: type[int] | type[float]
    default: float
    text: str

    @property
    def option(self) -> str:
        """The command-line option."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "HUTCH_" + self.name.upper()


def limit_fields(limits: type[ServerLimits] = Limits) -> tuple[LimitField, ...]:
    """Every limit, in the order of the class."""
    return tuple(_limit_field(one) for one in dataclasses.fields(limits))


def _limit_field(one: dataclasses.Field[Any]) -> LimitField:
    default: Any = one.default
    kind = int if isinstance(default, int) else float
    return LimitField(name=one.name, kind=kind, default=default, text=str(one.metadata["text"]))


def check_limits(limits: L) -> L:
    """`limits` itself. Raises `Failure` (bad_request) for one out of range."""
    for one in limit_fields(type(limits)):
        value = getattr(limits, one.name)
        most = MOST_SECONDS if one.kind is float else MOST_BYTES
        if not 0 < value <= most:
            raise Failure(
                "bad_request", f"{one.option}: {value}; give a positive number, at most {most}"
            )
    return limits


def check_host(host: str, *, option: str = "--host") -> str:
    """`host` itself. Raises `Failure` (bad_request) for an empty one, which would mean them all."""
    if not host.strip():
        raise Failure("bad_request", f"{option}: empty; give 0.0.0.0 to listen on every address")
    return host


def check_exposure(
    host: str, *, is_secure: bool, is_behind_proxy: bool, option: str = "--host"
) -> None:
    """Raises `Failure` (bad_request) where tokens would cross a network in plain text."""
    if is_secure or is_behind_proxy or is_loopback(host):
        return
    raise Failure(
        "bad_request",
        f"{option}: {shorten(host)} is no loopback address, and there is no TLS; give --tls-cert "
        "and --tls-key, or --behind-tls-proxy where a proxy in front speaks it",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_http_url(url: str) -> bool:
    """Whether it names a server that HTTP may be spoken to, with a port in range if with any."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_ripgrep_url(url: str) -> str:
    """`url` itself. Raises `Failure` (bad_request) for what nothing can be downloaded from."""
    if not is_http_url(url):
        raise Failure(
            "bad_request", f"--ripgrep-url: {shorten(url)}; give http:// or https:// and a host"
        )
    return url


def check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """`origins` themselves. Raises `Failure` (bad_request) for what no browser sends."""
    for one in origins:
        if one != "*" and not _ORIGIN.fullmatch(one):
            raise Failure(
                "bad_request",
                f"--allow-origin: {shorten(one)}; give '*', or scheme and host in lower case with "
                "the port if it is an odd one, such as https://app.example:8443",
            )
    return origins

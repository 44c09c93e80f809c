"""Commands on the wire: what may be asked, and the shape of a task.

Belongs here: the requests and answers of `/exec`, the key that makes a request run once, the
events of a stream. Banned here: I/O, and what a mode does with a command
(`hutch.runtime.exec.modes`).
Source: wire contract, section 4; reference, "Command Execution".
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath, shorten

Mode = Literal["shell", "direct"]
Status = Literal["pending", "running", "exited", "failed"]
StreamName = Literal["stdout", "stderr"]

TaskId = Annotated[str, Meta(max_length=64, min_length=1)]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?")
_YEAR: Final = 366 * 24 * 3600
TIMED_OUT: Final = 124
SIGNALLED: Final = 128


class ExecBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /exec` and `POST /exec/stream`. `command` is the older name of `cmd`."""

    cmd: list[str] | str | None = None
    command: list[str] | str | None = None
    exec_mode: Literal["auto", "shell", "direct"] = "auto"
    stream: bool = False
    background: bool = False
    timeout_seconds: Annotated[float, Meta(ge=0, le=10 * _YEAR)] = 0
    ttl_seconds: Annotated[int, Meta(ge=-1, le=10 * _YEAR)] = 0
    keep_logs: bool = False
    cwd: AbsolutePath | None = None
    env: dict[str, str] = {}
    user: str | int | None = None
    stdin: str | None = None
    open_stdin: bool | None = None
    id: TaskId | None = None

    @property
    def words(self) -> list[str] | str:
        """The command as it was given."""
        given = self.cmd if self.cmd is not None else self.command
        return [] if given is None else given


class Resources(Struct, frozen=True, kw_only=True):
    """What a task cost; null is what cannot be known here."""

    cpu_seconds: float | None
    max_rss_bytes: int | None
    oom_killed: bool | None


class TaskFacts(Struct, frozen=True, kw_only=True):
    """A task without its output, as lists carry it."""

    id: str
    command: list[str]
    status: Status
    created_at: str
    ttl_seconds: int
    command_truncated: bool | UnsetType = UNSET
    exec_mode: Mode | UnsetType = UNSET
    guest_pid: int | UnsetType = UNSET
    started_at: str | UnsetType = UNSET
    exited_at: str | UnsetType = UNSET
    exit_code: int | UnsetType = UNSET
    signal: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    lost: bool | UnsetType = UNSET
    escaped: bool | UnsetType = UNSET
    output_dropped: bool | UnsetType = UNSET
    resources: Resources | UnsetType = UNSET


class Task(TaskFacts, frozen=True, kw_only=True):
    """The task object, with the end of each stream. Its bytes leave in pieces."""

    stdout: str
    stderr: str
    stdout_bytes: int
    stderr_bytes: int
    stdout_truncated: bool
    stderr_truncated: bool


class TaskList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /exec`."""

    tasks: list[TaskFacts]
    success: Literal[True] = True


class Deleted(Struct, frozen=True, kw_only=True):
    """The answer of `DELETE /exec/{id}`."""

    success: Literal[True] = True


class DeletedAll(Struct, frozen=True, kw_only=True):
    """The answer of `DELETE /exec`: how many tasks, finished ones too."""

    deleted: int
    success: Literal[True] = True


class InputWritten(Struct, frozen=True, kw_only=True):
    """The answer of `POST /exec/{id}/input`."""

    bytes_written: int
    success: Literal[True] = True


class Signalled(Struct, frozen=True, kw_only=True):
    """The answer of `POST /exec/{id}/signal`."""

    signal: str
    success: Literal[True] = True


class WaitQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /exec/{id}`: how many seconds to wait for its end."""

    wait: Annotated[int, Meta(ge=0, le=24 * 3600)] = 0


class SubscribeQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /exec/stream`."""

    task_id: TaskId


class OutputQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /exec/{id}/output`: bytes of one stream, counted from its start."""

    stream: StreamName = "stdout"
    offset: Annotated[int, Meta(ge=0, le=2**62)] | None = None
    limit: Annotated[int, Meta(ge=0, le=2**62)] | None = None


class InputQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `POST /exec/{id}/input`: whether stdin is closed afterwards."""

    eof: bool = False


class SignalBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /exec/{id}/signal`: a name, with or without SIG, or a number."""

    signal: str | int


class Gone(Failure):
    """410: the key, or the task, was there once; code `not_found`, since it is not there now."""

    def __init__(self, message: str) -> None:
        super().__init__("not_found", message)

    @property
    def status(self) -> int:
        """Gone (RFC 9110, section 15.5.11)."""
        return 410


def check_body(asked: ExecBody) -> ExecBody:
    """`asked` itself. Raises `Failure` (bad_request) for what no program could be given."""
    words = [asked.words] if isinstance(asked.words, str) else asked.words
    if not words:
        raise Failure("bad_request", "cmd: missing or empty; give a list of words, or a string")
    if not words[0].strip():
        raise Failure("bad_request", "cmd: its first word is empty; that is the program")
    _require_no_nul("cmd", words)
    _require_no_nul("env", [*asked.env, *asked.env.values()])
    for name in asked.env:
        if not name or "=" in name:
            raise Failure("bad_request", f"env: not a variable's name: {shorten(name)}")
    if asked.id is not None and (not _ID.fullmatch(asked.id) or asked.id == "stream"):
        raise Failure(
            "bad_request",
            f"id: {shorten(asked.id)}; give 1 to 64 of A-Z a-z 0-9 _ -, and not the word stream",
        )
    if asked.stream and asked.background:
        raise Failure("bad_request", "background: not together with stream; give one of them")
    return asked


def _require_no_nul(name: str, texts: list[str]) -> None:
    for text in texts:
        if "\0" in text:
            raise Failure("bad_request", f"{name}: has a NUL byte in it: {shorten(text)}")


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """The `Idempotency-Key` of a request. Raises `Failure` (bad_request)."""
    raw = headers.get(b"idempotency-key")
    if raw is None:
        return None
    key = raw.decode("latin-1").strip()
    if not _KEY.fullmatch(key):
        raise Failure(
            "bad_request", f"Idempotency-Key: {shorten(key)}; give 1 to 128 printable characters"
        )
    return key


def fingerprint(asked: ExecBody) -> str:
    """The same for bodies that ask for the same, however they spell it: SHA-256, hex."""
    values: dict[str, Any] = msgspec.structs.asdict(asked) | {"cmd": asked.words, "command": None}
    return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()


class Cursor(Struct, frozen=True):
    """How far a reader has come in each stream, in bytes; and whether it has seen the end.

    It is the `id` of every event: `1024-0`, and `1024-0-end` for `exit`.
    """

    stdout: int = 0
    stderr: int = 0
    ended: bool = False

    def __str__(self) -> str:
        return f"{self.stdout}-{self.stderr}{'-end' if self.ended else ''}"


_CURSOR: Final = re.compile(rb"(\d{1,18})-(\d{1,18})(-end)?")


def last_event(headers: Mapping[bytes, bytes]) -> Cursor | None:
    """The `Last-Event-ID` of a reconnect. Raises `Failure` (bad_request)."""
    raw = headers.get(b"last-event-id", b"").strip()
    if not raw:
        return None
    match = _CURSOR.fullmatch(raw)
    if match is None:
        shown = shorten(raw.decode("latin-1"))
        raise Failure("bad_request", f"Last-Event-ID: not one of our ids: {shown}")
    return Cursor(int(match[1]), int(match[2]), match[3] is not None)


COMMENT: Final = b":\n\n"


def event(name: str, data: Mapping[str, object], cursor: Cursor) -> bytes:
    """One event: a line each for `id`, `event` and `data`."""
    return event_start(name, cursor) + msgspec.json.encode(data) + b"\n\n"


def event_start(name: str, cursor: Cursor) -> bytes:
    """An event up to its data."""
    return f"id: {cursor}\nevent: {name}\ndata: ".encode()


def output_event(name: StreamName, chunk: bytes, cursor: Cursor) -> bytes:
    """The event of a piece of output, its bytes exact."""
    return event_start(name, cursor) + b'{"data":"' + base64.b64encode(chunk) + b'"}\n\n'


# --- UTF-8 -----------------------------------------------------------------------------------

LONGEST: Final = 4  # bytes of one character
# The first bytes of characters of two, three and four bytes (RFC 3629, section 4).
_LEADS: Final = ((0xC2, 0xDF, 2), (0xE0, 0xEF, 3), (0xF0, 0xF4, 4))


def is_continuation(byte: int) -> bool:
    """Whether the byte stands inside a character."""
    return 0x80 <= byte <= 0xBF  # noqa: PLR2004  # RFC 3629


def whole_characters(chunk: bytes) -> bytes:
    """Without the beginning of a character whose end has not come yet.

    Clients decode each event by itself. Bytes that are no UTF-8 are left as they are.
    """
    for back in range(1, min(LONGEST, len(chunk) + 1)):
        byte = chunk[-back]
        if not is_continuation(byte):
            needed = next((size for low, high, size in _LEADS if low <= byte <= high), 1)
            return chunk[:-back] if needed > back else chunk
    return chunk

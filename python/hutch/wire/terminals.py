"""Terminals on the wire: what may be asked, the shape of a session, the frames of `/ws`.

Belongs here: requests, answers, and both directions of the socket's frames. Banned here: I/O.
Source: wire contract, sections 5 and 7; reference, "Terminal Sessions".
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hutch.wire.errors import Failure
from hutch.wire.paths import AbsolutePath, shorten

MOST_SCROLLBACK: Final = 4 * 1024 * 1024
LAST_ID: Final = 255  # one byte of a frame
_MOST_CELLS: Final = 1000
_MOST_ID: Final = 40

Cells = Annotated[int, Meta(ge=1, le=_MOST_CELLS)]
Status = Literal["running", "exited"]


class TerminalBody(Struct, frozen=True, kw_only=True):
    """The body of `POST /terminals`. `command` is an alias of `cmd`; `shell` is a program alone."""

    cmd: list[str] | str | None = None
    command: list[str] | str | None = None
    shell: str | None = None
    cols: Cells = 80
    rows: Cells = 24
    cwd: AbsolutePath | None = None
    env: dict[str, str] = {}
    scrollback_size: Annotated[int, Meta(ge=1, le=MOST_SCROLLBACK)] | None = None

    @property
    def words(self) -> list[str] | None:
        """The command as words; a string is for the shell, None is the default shell."""
        given = self.cmd if self.cmd is not None else self.command
        if given is None:
            return None if self.shell is None else [self.shell]
        return ["/bin/sh", "-c", given] if isinstance(given, str) else given


class Terminal(Struct, frozen=True, kw_only=True):
    """A session. `exit_code` is 0 while it lives."""

    id: str
    command: list[str]
    cols: int
    rows: int
    alive: bool
    exit_code: int
    created_at: str
    scrollback_size: int
    shell: str
    status: Status


class TerminalCreated(Terminal, frozen=True, kw_only=True):
    """The answer of `POST /terminals`: the session, flat."""

    success: Literal[True] = True


class TerminalList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /terminals`, in the order in which they were made."""

    terminals: list[Terminal]
    success: Literal[True] = True


class TerminalClosed(Struct, frozen=True, kw_only=True):
    """The answer of `DELETE /terminals/{id}`."""

    terminal_id: str
    success: Literal[True] = True


class ScrollbackQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /terminals/{id}/scrollback`: the last so many bytes; all, if none."""

    bytes: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class ScrollbackFacts(Struct, frozen=True, kw_only=True):
    """What an answer says of a ring beside its bytes: `size` is how many the answer carries."""

    id: str
    size: int
    alive: bool
    exit_code: int
    success: Literal[True] = True


class Scrollback(ScrollbackFacts, frozen=True, kw_only=True):
    """The answer of `GET /terminals/{id}/scrollback`: base64, and the same as text."""

    scrollback: str
    content: str


def check_body(asked: TerminalBody) -> TerminalBody:
    """`asked` itself. Raises `Failure` (bad_request) for what no program could be given."""
    words = asked.words
    if words is not None and not (words and words[0].strip()):
        raise Failure("bad_request", "cmd: empty; leave it out for the shell")
    for name, texts in (("cmd", words or []), ("env", [*asked.env, *asked.env.values()])):
        for text in texts:
            if "\0" in text:
                raise Failure("bad_request", f"{name}: has a NUL byte in it: {shorten(text)}")
    for name in asked.env:
        if not name or "=" in name:
            raise Failure("bad_request", f"env: not a variable's name: {shorten(name)}")
    return asked


# --- frames ------------------------------------------------------------------------------------


class Input(Struct, frozen=True):
    """A binary frame of a client: bytes for a terminal."""

    id: int
    data: bytes


class Resize(Struct, frozen=True, kw_only=True):
    """A `resize` frame of a client; the id may be a number or text."""

    # Bounded: an answer that says that there is no such one repeats it.
    id: Annotated[str, Meta(max_length=_MOST_ID)] | Annotated[int, Meta(ge=-(2**53), le=2**53)]
    cols: Cells
    rows: Cells


class BadFrameError(Exception):
    """A frame that cannot be understood: `channel` is where to say so."""

    def __init__(self, channel: str, sentence: str) -> None:
        super().__init__(sentence)
        self.channel = channel
        self.sentence = sentence


def read_frame(message: bytes | str) -> Input | Resize:
    """A message of a client. Raises `BadFrameError`."""
    if isinstance(message, bytes):
        if not message:
            raise BadFrameError("terminal", "an empty frame")
        return Input(message[0], message[1:])
    return _read_text(message)


def _read_text(text: str) -> Resize:
    try:
        frame: Any = msgspec.json.decode(text)
    except RecursionError:
        raise BadFrameError("system", "JSON nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadFrameError("system", f"not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise BadFrameError("system", "not a JSON object; give one with channel and type")
    channel, kind = frame.get("channel"), frame.get("type")
    if channel != "terminal":
        shown = shorten(str(channel))
        raise BadFrameError("system", f"channel: {shown}; clients send on 'terminal' only")
    if kind != "resize":
        shown = shorten(str(kind))
        raise BadFrameError("terminal", f"type: {shown}; clients send 'resize', and binary frames")
    try:
        return msgspec.convert(frame, Resize)
    except msgspec.ValidationError as error:
        sentence, _, where = str(error).partition(" - at `$.")
        raise BadFrameError("terminal", f"{where.rstrip('`') or 'resize'}: {sentence}") from None


def output_frame(number: int, data: bytes | bytearray) -> bytes:
    """A binary frame of the server: bytes from a terminal."""
    return bytes((number,)) + data


def hello_frame(*, version: str, protocol_version: int, instance: str) -> str:
    """The first frame of every connection."""
    return _text(
        "system",
        "hello",
        version=version,
        protocol_version=protocol_version,
        instance=instance,
    )


def exit_frame(number: int, code: int) -> str:
    """A terminal has ended."""
    return _text("terminal", "exit", id=str(number), code=code)


def gap_frame(number: int, skipped: int) -> str:
    """So many bytes of a terminal were not sent to this client."""
    return _text("terminal", "gap", id=str(number), skipped=skipped)


def error_frame(channel: str, sentence: str, **more: object) -> str:
    """Something that the client sent was not done."""
    return _text(channel, "error", error=sentence, **more)


def _text(channel: str, kind: str, **fields: object) -> str:
    return msgspec.json.encode({"channel": channel, "type": kind, **fields}).decode()

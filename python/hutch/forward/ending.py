"""How a tunnel's owner ends it in good order, and where one frame ends and the next begins.

Belongs here: `Ending`, the tracker of frame boundaries, the close frame. Banned here: I/O, and
the content of frames: a tunnel is opaque but for their lengths. Source: RFC 6455, section 5.2.
"""

from __future__ import annotations

from typing import Final

import trio

_CLOSE: Final = 0x8
_MASKED: Final = 0x80
_KEY_BYTES: Final = 4
_MOST_REASON: Final = 123  # a control frame has 125 bytes, two of them the code


class Ending:
    """The owner's handle on one tunnel: 1008 where it was revoked, 1012 where a server ends."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.frame = b""

    def end(self, code: int, reason: str) -> None:
        """The client is told so between two frames, and the tunnel ends. The first call counts."""
        if not self.event.is_set():
            self.frame = close_frame(code, reason)
            self.event.set()


def close_frame(code: int, reason: str) -> bytes:
    """A server's close frame."""
    text = reason.encode()[:_MOST_REASON].decode(errors="ignore").encode()
    payload = code.to_bytes(2, "big") + text
    return bytes((0x80 | _CLOSE, len(payload))) + payload


class Frames:
    """Follows the frames of one direction by their lengths."""

    def __init__(self) -> None:
        self._skip = 0  # bytes of the frame under way that are still to come
        self._head = bytearray()  # of the next frame, as far as it has come
        self.has_closed = False  # a close frame went by: nothing may follow it

    @property
    def is_between(self) -> bool:
        """Whether everything so far was whole frames."""
        return self._skip == 0 and not self._head

    def feed(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` lie before its last boundary; 0 where there is none in it."""
        at = last = 0
        size = len(data)
        while True:
            step = min(self._skip, size - at)
            self._skip -= step
            at += step
            if self._skip:
                return last
            if self.is_between:
                last = at
            if at == size:
                return last
            at = self._read_head(data, at)

    def _read_head(self, data: bytes | memoryview, at: int) -> int:
        if not self._head and len(data) - at >= _head_bytes(data[at + 1 : at + 2]):
            need = _head_bytes(data[at + 1 : at + 2])
            self._begin(data[at : at + need])
            return at + need
        while at < len(data):
            self._head.append(data[at])
            at += 1
            if len(self._head) >= _head_bytes(self._head[1:2]):
                self._begin(self._head)
                self._head.clear()
                break
        return at

    def _begin(self, head: bytes | bytearray | memoryview) -> None:
        length = head[1] & 0x7F
        if length == 126:  # noqa: PLR2004  # RFC 6455, 5.2
            length = int.from_bytes(head[2:4], "big")
        elif length == 127:  # noqa: PLR2004  # as above
            length = int.from_bytes(head[2:10], "big")
        self._skip = length + (_KEY_BYTES if head[1] & _MASKED else 0)
        self.has_closed = self.has_closed or head[0] & 0xF == _CLOSE


def _head_bytes(second: bytes | bytearray | memoryview) -> int:
    """The length of a frame's head without its key, by its second byte; 2 while that is to come."""
    if not second:
        return 2
    return {126: 4, 127: 10}.get(second[0] & 0x7F, 2)

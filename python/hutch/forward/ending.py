"""How a tunnel's owner ends it in good order, and where one frame ends and the next begins.

Belongs here: `Ending`, the tracker of frame boundaries, the close frame. Banned here: I/O, and
the content of frames: a tunnel is opaque but for their lengths. Source: RFC 6455, section 5.2.
"""

from __future__ import annotations

from typing import Final

import trio

_CLOSE: Final = 0x8
_MASKED: Final = 0x80
_LEAST_HEAD: Final = 2
_TWO_BYTES: Final = 126  # a length of two bytes follows, above it one of eight
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
        self._head = b""  # of the next frame, as far as it has come
        self.count = 0
        self.has_closed = False  # a close frame went by: nothing may follow it

    @property
    def is_between(self) -> bool:
        """Whether everything so far was whole frames."""
        return self._skip == 0 and not self._head

    def feed(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` lie before its last boundary; 0 where there is none in it.

        A flood of empty frames costs a quarter of a microsecond each.
        """
        before = len(self._head)
        if before:
            data = self._head + bytes(data)
        size = len(data)
        at, last = self._skip, 0
        if at <= size:
            last = at
        while (left := size - at) >= _LEAST_HEAD:
            second = data[at + 1]
            length = second & 0x7F
            step = _LEAST_HEAD + (_KEY_BYTES if second & _MASKED else 0)
            if length >= _TWO_BYTES:
                extra = 2 if length == _TWO_BYTES else 8
                if left < _LEAST_HEAD + extra:
                    break
                length = int.from_bytes(data[at + 2 : at + 2 + extra], "big")
                step += extra
            if data[at] & 0xF == _CLOSE:
                self.has_closed = True
            self.count += 1
            at += step + length
            if at <= size:
                last = at
        self._skip = max(0, at - size)
        self._head = bytes(data[at:])
        return max(0, last - before)

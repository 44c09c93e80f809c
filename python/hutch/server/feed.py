"""What an h11 parser is given at once, so that no event of it costs others their turn.

Belongs here: `Feed`. Banned here: sockets, and what events mean.

h11 takes 3 to 7 microseconds a header line, and trailers of 250 KiB may have 50,000: a third of a
second in one call, for whoever asks, token or not. How many there are shows only when it is done.
So it is given bits, and one that has a thousand lines and still no event from them is refused:
it is a head, or trailers, since a chunk's own line is one and its data is given out at once.
"""

from __future__ import annotations

from typing import Any, Final

import h11

MOST_LINES: Final = 1000
"""Of a head, or of trailers. Apache httpd takes 100."""

# At least four bytes a line: 2,000 lines more.
_BIT: Final = 8192


class Feed:
    """The way into one parser; nobody else gives it anything."""

    def __init__(self, parser: h11.Connection) -> None:
        self.parser = parser
        self._rest = b""
        self._at = 0
        self._has_lines = True

    def expect_bytes(self) -> None:
        """From here on there are no lines: the body is as long as its head says."""
        self._has_lines = False

    def add(self, data: bytes) -> None:
        """What has arrived; b"" at the end of the connection, once the parser wanted more."""
        if not data:
            self.parser.receive_data(b"")
        self._rest = self._rest[self._at :] + data
        self._at = 0

    def next_event(self) -> Any:
        """As h11's own. Raises `h11.RemoteProtocolError`, also for too many lines."""
        while (event := self.parser.next_event()) is h11.NEED_DATA:
            if self._has_lines:
                self._check_lines()
            if self._at >= len(self._rest):
                break
            end = self._at + (_BIT if self._has_lines else len(self._rest))
            self.parser.receive_data(self._rest[self._at : end])
            self._at = end
        return event

    def _check_lines(self) -> None:
        if self.parser.trailing_data[0].count(b"\n") > MOST_LINES:
            raise h11.RemoteProtocolError(f"over {MOST_LINES} header lines")

    @property
    def trailing(self) -> bytes:
        """What came after the last event."""
        return bytes(self.parser.trailing_data[0]) + self._rest[self._at :]

"""A terminal's scrollback as it leaves: in pieces.

Belongs here: the JSON of it. Banned here: HTTP. The ring is copied once, at the start; its base64
and its text are made a piece at a time.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Generator, Iterator
from typing import Final

import msgspec

from hutch.runtime.terminals.session import Session
from hutch.wire.terminals import ScrollbackFacts

_PIECE: Final = 48 * 1024  # divisible by three: base64 of each piece needs no padding


class ScrollbackAnswer:
    """A `Source`: the last `most` bytes of the ring, as base64 and as text."""

    def __init__(self, session: Session, most: int | None) -> None:
        self._data = session.scrollback.tail(most)
        facts = session.facts()
        self._facts = ScrollbackFacts(
            id=facts.id, size=len(self._data), alive=facts.alive, exit_code=facts.exit_code
        )
        self._batches = self._all()

    async def pull(self) -> bytes | None:
        """The next batch, None at the end."""
        return next(self._batches, None)

    def stop(self) -> None:
        """Lets the bytes go."""
        self._batches.close()

    def _all(self) -> Generator[bytes, None, None]:
        head = msgspec.json.encode(self._facts)[:-1] + b',"scrollback":"'
        for piece in self._pieces():
            yield head + base64.b64encode(piece)
            head = b""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        head += b'","content":"'
        for piece in self._pieces():
            yield head + msgspec.json.encode(decoder.decode(piece))[1:-1]
            head = b""
        yield head + msgspec.json.encode(decoder.decode(b"", final=True))[1:-1] + b'"}'

    def _pieces(self) -> Iterator[bytes]:
        for at in range(0, len(self._data), _PIECE):
            yield self._data[at : at + _PIECE]

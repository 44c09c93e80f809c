"""The Rust extension: what it promises, in Python's words. Held to the build by stubtest.

Calls that take long release the interpreter. `OSError` carries `errno` and `filename`
(bytes); `InterruptedError` says that a `Stop` was set.
"""

from typing import Literal, final

__all__ = [
    "DEBUG",
    "Reading",
    "Stop",
    "__version__",
    "extension",
    "is_code",
    "is_made_on_reading",
    "open_regular",
]

__version__: str
DEBUG: bool

def extension(name: bytes) -> bytes | None:
    """From the last dot on, unless that is the first byte. Source: wire contract, section 2."""

def is_code(name: bytes) -> bool:
    """Whether the published table holds the name or its extension for code."""

@final
class Stop:
    """A flag that ends work from outside: set once, never cleared."""

    def __new__(cls) -> Stop: ...
    def set(self) -> None: ...
    def is_set(self) -> bool: ...

def open_regular(path: bytes) -> int:
    """An owned descriptor of a regular file, at once; symlinks are followed.

    Raises OSError: EISDIR for a directory, ENXIO for a FIFO, a socket or a device, which are
    not opened at all.
    """

def is_made_on_reading(descriptor: int) -> bool:
    """Whether an open file lies in `/proc`, `/sys` or their like: its size and times say
    nothing of its content.
    """

@final
class Reading:
    """A file being read, whole or by lines: scanned, then handed over as the inside of a JSON
    string. Holds a window of it, not all.
    """

    def __new__(
        cls,
        path: bytes,
        *,
        first: int | None,
        last: int | None,
        form: Literal["text", "numbered", "base64"],
        limit: int,
    ) -> Reading:
        """Opens as `open_regular` does, and reads nothing yet.

        Raises OSError: EFBIG for a whole file of more than `limit` bytes.
        """
    def fileno(self) -> int: ...
    def scan(self, stop: Stop) -> None:
        """Finds the wanted bytes; comes before the first `next`.

        Raises OSError (EFBIG over the limit), ValueError for text with a NUL, InterruptedError.
        """
    def next(self, most: int) -> bytes:
        """The next batch: at least `most` bytes, and not much more, but for the last one.

        Raises OSError: ESTALE where the file has become shorter since it was scanned.
        """
    def is_finished(self) -> bool: ...
    def facts(self) -> tuple[int, int, bool, str | None]:
        """(size, lines, lossy, SHA-256 of a whole file), complete once all was handed over."""

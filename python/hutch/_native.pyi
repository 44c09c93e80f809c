"""The Rust extension: what it promises, in Python's words. Held to the build by stubtest.

Calls that take long release the interpreter. `OSError` carries `errno` and `filename`
(bytes); `InterruptedError` says that a `Stop` was set.
"""

from typing import final

__all__ = ["DEBUG", "Stop", "__version__", "extension", "is_code"]

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

"""What a nursery wrapped.

Belongs here: getting at the one error in a group, so that whoever starts a server is told what
happened and not where. Banned here: deciding what an error means.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raises the one error that a group holds in place of the group; a group of several passes."""
    try:
        yield
    except BaseExceptionGroup as group:
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
            (inner,) = inner.exceptions
        raise inner from None

"""What this room needs of a server's limits, whoever's they are.

Belongs here: that one type. Banned here: values (`wire.config` has them).
"""

from __future__ import annotations

from typing import Protocol


class Bounds(Protocol):
    """In bytes or seconds, as the name says: both `ServerLimits` and `ForwardLimits`."""

    @property
    def connect_seconds(self) -> float:
        """To reach an upstream."""

    @property
    def upstream_idle_seconds(self) -> float:
        """A request is given up when not a byte moves."""

    @property
    def header_bytes(self) -> int:
        """Largest head of an answer."""

    @property
    def drain_seconds(self) -> float:
        """For the frame under way when a tunnel is ended."""

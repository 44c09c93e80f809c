"""Access to the server in a workspace, on the wire.

Belongs here: the answers below `runtime-api-access`. Banned here: tokens' insides.
Source: wire contract, section 9; reference, "Connection & Auth".
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class AccessStatus(Struct, frozen=True, kw_only=True):
    """Whether clients may reach the server, and whether it answers.

    `enabled` is what was asked for; `running`, and `is_running` for the package, what is.
    """

    enabled: bool
    running: bool
    is_running: bool
    success: Literal[True] = True


class AccessToken(Struct, frozen=True, kw_only=True):
    """A gateway token, and until when it is good."""

    token: str
    expires_at: str
    enabled: Literal[True] = True
    success: Literal[True] = True


class RawToken(Struct, frozen=True, kw_only=True):
    """What a direct connection needs."""

    token: str
    ip: str
    port: int
    success: Literal[True] = True

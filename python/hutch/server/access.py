"""The access log: one line of JSON a request, of an allow-list of fields.

Belongs here: that line. Banned here: queries, headers, tokens, whatever else a client sent but
the path, which is bounded and escaped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio

_log: Final = logging.getLogger("hutch.access")
_encoder: Final = msgspec.json.Encoder()

_METHOD: Final = 20
_PATH: Final = 500


def log_request(
    scope: Mapping[str, Any] | None,
    *,
    request_id: str,
    status: int,
    sent: int,
    started: float,
) -> None:
    """Writes the line. `scope` is None where no request could be read.

    `scope["state"]` may name the `route` and, where requests are passed on, the `workspace`.
    `sent` is in bytes of body, `started` Trio's clock, in the line `duration_ms`. `status` is
    101 for a WebSocket, 0 where nothing was answered.
    """
    if not _log.isEnabledFor(logging.INFO):
        return
    state: Mapping[str, Any] = {} if scope is None else scope.get("state", {})
    line = {
        "method": None if scope is None else str(scope.get("method", "GET"))[:_METHOD],
        # The raw one is ASCII, so that nothing in it can forge a line.
        "path": None if scope is None else scope["raw_path"][:_PATH].decode("ascii", "replace"),
        "route": state.get("route"),
        "status": status,
        "bytes": sent,
        "duration_ms": round((trio.current_time() - started) * 1000, 3),
        "request_id": request_id,
    }
    if "workspace" in state:
        line["workspace"] = state["workspace"]
    _log.info("%s", _encoder.encode(line).decode())

"""Figures about the gateway, as Prometheus reads them.

Belongs here: what is counted, and its text. Banned here: labels that clients choose: paths,
workspaces, tokens. Their number has no bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
from prometheus_client import Counter, Histogram

from hutch.server.figures import CONTENT_TYPE, Figures
from hutch.server.streaming import Exchange

__all__ = ["CONTENT_TYPE", "Metrics"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})


class Metrics(Figures):
    """What is counted, in a registry of its own."""

    def __init__(self) -> None:
        super().__init__("hutch_gateway")
        self._answers = Counter(
            "hutch_gateway_answers",
            "Answers by status; 'none' where a client left before one began",
            ["status"],
            registry=self.registry,
        )
        self._waited = Histogram(
            "hutch_gateway_answer_seconds",
            "From a request's head to the head of its answer",
            buckets=_SECONDS,
            registry=self.registry,
        )

    @contextmanager
    def counting(self, exchange: Exchange) -> Iterator[Exchange]:
        """The same exchange; how it is answered is counted."""
        began = trio.current_time()
        status = "none"

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                status = str(message["status"])
                self._waited.observe(trio.current_time() - began)
            await exchange.send(message)

        try:
            yield Exchange(exchange.scope, exchange.receive, send)
        finally:
            if exchange.scope["type"] == "http" or status != "none":
                self._answers.labels(status).inc()

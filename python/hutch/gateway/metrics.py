"""Figures about the gateway, as Prometheus reads them.

Belongs here: what is counted, and its text. Banned here: labels that clients choose: paths,
workspaces, tokens. Their number has no bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from hutch.server.streaming import Exchange

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})


class Metrics:
    """What is counted, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._answers = Counter(
            "hutch_gateway_answers",
            "Answers by status; 'none' where a client left before one began",
            ["status"],
            registry=self._registry,
        )
        self._waited = Histogram(
            "hutch_gateway_answer_seconds",
            "From a request's head to the head of its answer",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a figure that is asked for whenever it is read."""
        Gauge(f"hutch_gateway_{name}", text, registry=self._registry).set_function(value)

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

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return bytes(generate_latest(self._registry))

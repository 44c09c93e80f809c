"""Figures about a server, as Prometheus reads them.

Belongs here: the registry, what every server of ours counts about its requests, and the text.
Banned here: labels that clients choose (paths, queries, names): their number has no bound. A route
is the pattern of the application's table; whatever leads to none shares one label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hutch.server.census import Census
from hutch.server.stalls import Stalls

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

# From a small request to a command that is waited for.
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 10, 60, 600)
_LAG_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_LOOK_SECONDS: Final = 0.5
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Applications behind us may answer with any number: those without a name share one label a hundred.
_STATUSES: Final = frozenset({0, *HTTPStatus})
# What no row of the table has answered: unknown paths, wrong tokens, heads that are none.
NO_ROUTE: Final = "none"


Values = Callable[[], Mapping[str, float]]


class _Family(Collector):
    def __init__(self, name: str, text: str, label: str, values: Values) -> None:
        self._words = (name, text)
        self._label = label
        self._values = values

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(*self._words, labels=[self._label])
        for value, figure in self._values().items():
            family.add_metric([value], figure)
        yield family


class _Total(Collector):
    def __init__(self, name: str, text: str, value: Callable[[], float]) -> None:
        self._words = (name, text)
        self._value = value

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(*self._words, value=self._value())


class Figures:
    """A registry of its own, with what is known of the process: memory, processor, descriptors.

    Names begin with `prefix`.
    """

    def __init__(self, prefix: str = "hutch") -> None:
        self._prefix = prefix
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a figure that is asked for whenever it is read."""
        Gauge(f"{self._prefix}_{name}", text, registry=self.registry).set_function(value)

    def total(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a figure that only grows, asked for whenever it is read."""
        self.registry.register(_Total(f"{self._prefix}_{name}", text, value))

    def family(self, name: str, text: str, label: str, values: Values) -> None:
        """Adds figures that are asked for whenever they are read, one for each value of a label."""
        self.registry.register(_Family(f"{self._prefix}_{name}", text, label, values))

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return bytes(generate_latest(self.registry))


class RequestFigures(Figures):
    """Besides, the requests by route and status, how long they took, and the event loop's lag."""

    def __init__(self, prefix: str = "hutch") -> None:
        super().__init__(prefix)
        self._requests = Counter(
            f"{prefix}_requests",
            "Requests by method, route and status; 0 where nothing was answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            f"{prefix}_request_seconds",
            "From a request's head to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._sent = Counter(
            f"{prefix}_sent_bytes", "Bytes of answers' bodies", registry=self.registry
        )
        self._lag = Histogram(
            f"{prefix}_event_loop_lag_seconds",
            "How late the event loop wakes a task that sleeps",
            buckets=_LAG_SECONDS,
            registry=self.registry,
        )
        # What `labels` finds, found once: it costs more than the counting.
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self.census: Census | None = None
        self.stalls: Stalls | None = None

    def count(
        self, scope: Mapping[str, Any] | None, *, status: int, sent: int, seconds: float
    ) -> None:
        """Counts one request that has ended. `scope` is None where none could be read."""
        state: Mapping[str, Any] = {} if scope is None else scope.get("state", {})
        route = state.get("route") or NO_ROUTE
        key = (_method(scope), route, _status(status))
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(*key)
        counter.inc()
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = self._seconds.labels(route)
        histogram.observe(seconds)
        self._sent.inc(sent)

    def look_at(self, census: Census, stalls: Stalls) -> None:
        """From now on these are told too: the connections of the server that counts here."""
        self.census, self.stalls = census, stalls
        self.gauge("connections", "Connections that are open", lambda: len(census))
        self.gauge("stalled", "Answers of which nothing is taken", lambda: len(stalls))

    def uses(self) -> Mapping[str, float]:
        """How much of the server's own bounds is in use, by the names of `ServerLimits`."""
        return {"stalled_responses": 0 if self.stalls is None else len(self.stalls)}

    async def watch_lag(self) -> None:
        """Measures, twice a second, for as long as the server runs."""
        while True:
            due = trio.current_time() + _LOOK_SECONDS
            await trio.sleep_until(due)
            self._lag.observe(max(0.0, trio.current_time() - due))


def _status(status: int) -> str:
    return str(int(status)) if status in _STATUSES else f"{status // 100}xx"


def _method(scope: Mapping[str, Any] | None) -> str:
    if scope is None:
        return "none"
    # A WebSocket has none: it began as GET.
    method = str(scope.get("method", "GET"))
    return method if method in _METHODS else "other"

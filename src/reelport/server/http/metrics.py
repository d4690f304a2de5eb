"""Prometheus metrics of an API process.

No label ever names a partner, a report or a path with an id.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from reelport.server.http.api_processes import METRICS_FOLDER

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """The metrics of one process; with several processes, each exports the sum of all.

    `shared` collects metrics that are the same in every process; `held` counts the long polls of this one. The public
    counters are of token requests by outcome, errors of answers by code, long polls by outcome, bytes of files, and
    connections that were closed because there were too many.
    """

    def __init__(self, shared: Collector, held: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._held = held
        self._registry = CollectorRegistry()
        self._exported = _make_shared_registry() if METRICS_FOLDER in os.environ else self._registry
        if self._exported is self._registry:
            ProcessCollector(registry=self._registry)
        self._exported.register(shared)
        self._requests = Counter(
            "reelport_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "reelport_request_seconds",
            "Time to the first byte of an answer, without the time of a long poll. Refusals by 429 don't count.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.token_requests = Counter("reelport_tokens", "Requests for a token.", ("outcome",), registry=self._registry)
        self.errors = Counter("reelport_errors", "Errors in answers, by code.", ("code",), registry=self._registry)
        self._held_now = Gauge(
            "reelport_held_looks",
            "Status queries that wait for a report now (long polls).",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self.long_polls = Counter(
            "reelport_held_looks_ended",
            "Status queries that preferred to wait for an unfinished report, by outcome.",
            ("outcome",),
            registry=self._registry,
        )
        self.sent_bytes = Counter("reelport_download_bytes", "Bytes of files sent.", registry=self._registry)
        self.crowded_out = Counter(
            "reelport_connections_crowded_out",
            "Connections that were closed because there were too many.",
            registry=self._registry,
        )

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request whose answer has begun.

        Its seconds don't count where it was refused as one too many: a crowd of those would hide slow answers.
        """
        self._held_now.set(self._held())
        self._requests.labels(route, method, str(status)).inc()
        if status != HTTPStatus.TOO_MANY_REQUESTS:
            self._seconds.labels(route).observe(seconds)

    def render(self) -> bytes:
        """Render all metrics as text. Blocks while it reads the database."""
        self._held_now.set(self._held())
        return generate_latest(self._exported)


def _make_shared_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry

"""Prometheus metrics of an API process, of the state, of the fact tables and of the disk.

No label ever names a partner, a report or a path with an id.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, time
from http import HTTPStatus
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select

from reelport.engine.report_format import CSV, FORM_TYPES
from reelport.errors import ReelportError, StorageError
from reelport.facts.log.freshness import read_completeness
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import TABLES
from reelport.server.http.api_processes import METRICS_FOLDER
from reelport.server.queue import liveness
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import reading
from reelport.server.state.tables import FORMS, JOBS, REPORTS
from reelport.server.state.tallies import BOUNDS, Times
from reelport.server.state.write_ahead import measure_log

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
        self._exported = self._registry
        if METRICS_FOLDER in os.environ:
            self._exported = CollectorRegistry()
            MultiProcessCollector(self._exported)  # type: ignore[no-untyped-call]
        else:
            ProcessCollector(registry=self._registry)
        self._exported.register(shared)
        self._requests = Counter(
            "reelport_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "reelport_request_seconds",
            "Time to the first byte of an answer, without long polls and 429.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.token_requests = Counter("reelport_tokens", "Requests for a token.", ("outcome",), registry=self._registry)
        self.errors = Counter("reelport_errors", "Errors in answers, by code.", ("code",), registry=self._registry)
        self._held_now = Gauge(
            "reelport_held_looks",
            "Status queries and downloads that wait for reports or their forms now (long polls).",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self.long_polls = Counter(
            "reelport_held_looks_ended",
            "Long polls that ended, by outcome.",
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


class StateMetrics(Collector):
    """Collects at scrape time what every API process would say. What can't be read is left out."""

    def __init__(self, db: Engine, settings: Settings) -> None:
        self._db = db
        self._settings = settings

    def describe(self) -> Iterator[Metric]:
        """Yield nothing, so that registering needs no database."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family that can be read."""
        for part in (
            self._collect_workers,
            self._collect_jobs,
            self._collect_reports,
            self._collect_files,
            self._collect_tables,
            self._collect_disk,
        ):
            try:
                yield from part()
            except (StorageError, OSError):
                continue

    def _collect_workers(self) -> Iterator[Metric]:
        alive = len(liveness.list_ready(self._db, self._settings))
        yield GaugeMetricFamily("reelport_workers", "Workers that are alive and ready, on all machines.", alive)

    def _collect_jobs(self) -> Iterator[Metric]:
        waits = JOBS.c.owner.is_(None)
        with reading(self._db) as connection:
            running = connection.execute(select(func.count()).select_from(JOBS).where(~waits)).scalar_one()
            waiting, oldest = connection.execute(
                select(func.count(), func.min(REPORTS.c.created_at)).select_from(JOBS.join(REPORTS)).where(waits)
            ).one()
        jobs = GaugeMetricFamily("reelport_jobs", "Unfinished reports, by state.", labels=("state",))
        jobs.add_metric(("running",), running)
        jobs.add_metric(("waiting",), waiting)
        yield jobs
        age = (datetime.now(UTC) - oldest).total_seconds() if oldest is not None else 0.0
        yield GaugeMetricFamily(
            "reelport_oldest_waiting_report_seconds",
            "Age of the oldest waiting report; 0 when none waits.",
            max(age, 0.0),
        )

    def _collect_reports(self) -> Iterator[Metric]:
        read = tallies.read_tallies(self._db)
        yield _make_counter(
            "reelport_reports_ended",
            "Reports that ended, by outcome and reason.",
            ("outcome", "reason"),
            read.ended.items(),
        )
        yield _make_counter(
            "reelport_rollup_checks",
            "Reports made twice, from rollups and from the facts, by whether the results were equal.",
            ("outcome",),
            (((outcome,), count) for outcome, count in read.rollup_checks.items()),
        )
        yield _make_counter(
            "reelport_report_fallbacks",
            "Reports made from the facts, because a rollup or a copy by role could not be read.",
            ("kept",),
            (((unread,), count) for unread, count in read.fallbacks.items()),
        )
        yield CounterMetricFamily(
            "reelport_fetched_bytes", "Bytes of tables that reports fetched from an object store.", read.fetched_bytes
        )
        waiting, making = read.times[Times.WAITING], read.times[Times.MAKING]
        yield _make_histogram(
            "reelport_report_waiting_seconds", "Time from the request for a report to its first attempt.", waiting
        )
        yield _make_histogram(
            "reelport_report_making_seconds", "Time of the attempts that made a report's file.", making
        )
        yield GaugeMetricFamily(
            "reelport_last_backup_timestamp_seconds",
            "When the last backup ended; 0 before the first.",
            read.last_backup,
        )

    def _collect_files(self) -> Iterator[Metric]:
        csv, made = REPORTS.c.file.is_not(None), FORMS.c.file.is_not(None)
        by_form = select(FORMS.c.suffix, func.sum(FORMS.c.bytes)).where(made).group_by(FORMS.c.suffix)
        due = select(func.count()).select_from(FORMS).where(~made, FORMS.c.failure.is_(None))
        with reading(self._db) as connection:
            kept = dict.fromkeys((CSV.suffix, *FORM_TYPES), 0)
            kept[CSV.suffix] = connection.execute(select(func.sum(REPORTS.c.bytes)).where(csv)).scalar() or 0
            kept |= {row[0]: row[1] for row in connection.execute(by_form)}
            waiting = connection.execute(due).scalar_one()
        family = GaugeMetricFamily("reelport_file_bytes", "Bytes of finished files, by their form.", labels=("form",))
        for suffix, size in kept.items():
            family.add_metric((suffix.removeprefix("."),), size)
        yield family
        yield GaugeMetricFamily("reelport_forms_due", "Forms of finished reports that are still to be made.", waiting)

    def _collect_tables(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "reelport_table_last_complete_day_timestamp_seconds",
            "Beginning (UTC) of a fact table's last complete day.",
            labels=("table",),
        )
        root, today = self._settings.facts_root, datetime.now(UTC).date()
        for name in (table.name for table in TABLES.values() if table.is_fact):
            try:
                pinned = pin(root, [name])
                last = read_completeness(root, name, pinned.versions[name], pinned.listing[name], today).last
            except ReelportError:
                continue
            if last is not None:
                family.add_metric((name,), datetime.combine(last, time(), UTC).timestamp())
        yield family

    def _collect_disk(self) -> Iterator[Metric]:
        free = shutil.disk_usage(self._settings.data).free
        yield GaugeMetricFamily("reelport_data_free_bytes", "Free space on the disk of the data directory.", free)
        if not self._settings.database_url:
            size = measure_log(self._settings.state_file)
            yield GaugeMetricFamily("reelport_state_log_bytes", "Size of the write-ahead log of a SQLite state.", size)


def _make_counter(
    name: str, sentence: str, labels: tuple[str, ...], counts: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, sentence, labels=labels)
    for values, count in sorted(counts):
        family.add_metric(values, count)
    return family


def _make_histogram(name: str, sentence: str, histogram: tallies.Histogram) -> HistogramMetricFamily:
    bounds = [*map(str, BOUNDS), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
    return HistogramMetricFamily(name, sentence, buckets=buckets, sum_value=histogram.total)

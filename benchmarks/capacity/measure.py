"""Measures what the model stands on, by a real service with one worker, and keeps it.

    .venv/bin/python -m benchmarks.capacity.measure
    .venv/bin/python -m benchmarks.capacity.measure --rows 10000000 --large 100000000

Costs of a report are found by difference: a small one, one that reads much and writes little, one that writes as many
rows as it reads; none from rollups. The CPU is that of all threads of the process, those that have ended too.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import httpx2

from benchmarks import machine
from benchmarks.capacity.figures import Figures
from benchmarks.capacity.footers import measure_footers
from benchmarks.crowd import api_pids, cpu
from benchmarks.facts import MEMORY, Facts
from benchmarks.loading import loading
from benchmarks.reports import REPORTS, Report
from benchmarks.service import Reelport, Wire

_SMALL, _, _HUGE, _PLATFORM, _ = REPORTS
_PAUSE = 0.02
_ROLLBACK_JOURNAL = 1
"""The version of SQLite's file format without a write-ahead log."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the mean report of a kind took: the worker's CPU and seconds, the API's CPU, commits, rows, bytes."""

    worker: float
    seconds: float
    api: float
    commits: float
    rows: int
    size: int


def measure(facts: Facts, large: Facts, times: int) -> Figures:
    """Measure all figures; the same report is never asked for twice. `large` is for the footers."""
    footers = measure_footers(facts, large, max(1, times * 2 // 5))
    with closing(Reelport(facts, MEMORY, rollups=False)) as service:
        small = make(service, _SMALL, times)
        platform, huge = make(service, _PLATFORM, min(times, 8)), make(service, _HUGE, min(times, 4))
    read, both = _count_rows(facts, _PLATFORM), _count_rows(facts, _HUGE)
    read_seconds = (platform.worker - small.worker) / read * 1e6
    load: Any = loading(facts, min(times, 3))["reelport"]
    return Figures(
        when=datetime.now(UTC).isoformat(timespec="minutes"),
        machine=f"{machine.machine()['processor']}, {machine.machine()['cores']} cores, load {machine.load()}",
        report_seconds=small.worker,
        read_seconds=read_seconds,
        write_seconds=(huge.worker - small.worker) / huge.rows * 1e6 - read_seconds * both / huge.rows,
        footer_seconds=footers.read_seconds,
        skip_seconds=footers.skip_seconds,
        kept_rows=footers.kept_rows,
        parallel=huge.worker / huge.seconds,
        request_seconds=small.api,
        load_seconds=1e6 / load["rows_a_core_second"],
        fact_bytes=sum(Path(file).stat().st_size for file in facts.files("plays")) / facts.rows,
        file_bytes=huge.size / huge.rows,
        report_commits=small.commits,
        commit_seconds=_measure_commit(),
    )


def make(service: Reelport, report: Report, times: int) -> Cost:
    """Ask for a report so many times, each about other days, and take its file."""
    made = service.service
    api, workers = api_pids(made), list(made.worker_pids)
    with service.wire(report.organization) as wire:
        size, rows = _fetch(wire, report, 0)
        before = cpu(api), cpu(workers), _count_commits(service)
        seconds: list[float] = []
        for shift in range(1, times + 1):
            began = time.perf_counter()
            token = wire.ask(report.query(shift))
            time.sleep(seconds[0] if seconds else 0)
            while wire.look(token) == "IN_PROGRESS":
                time.sleep(_PAUSE)
            seconds.append(time.perf_counter() - began)
            httpx2.get(wire.link(token)).raise_for_status()
        after = cpu(api), cpu(workers), _count_commits(service)
    api_seconds, worker, commits = ((late - early) / times for early, late in zip(before, after, strict=True))
    return Cost(worker, median(seconds), api_seconds, commits, rows, size)


def _fetch(wire: Wire, report: Report, shift: int) -> tuple[int, int]:
    token = wire.ask(report.query(shift))
    while wire.look(token) == "IN_PROGRESS":
        time.sleep(_PAUSE)
    content = httpx2.get(wire.link(token), timeout=300).raise_for_status().content
    return len(content), content.count(b"\n") - 1


def _count_commits(service: Reelport) -> int:
    """Read how often the state was changed: SQLite counts it in a header.

    That is the file's own, or with a write-ahead log the one of the memory that its processes share
    (sqlite.org/walformat.html, `iChange`).
    """
    state = service.settings.state_file
    header = state.read_bytes()[:28]
    if header[18] == _ROLLBACK_JOURNAL:
        return int.from_bytes(header[24:28], "big")
    return int.from_bytes(state.with_name(f"{state.name}-shm").read_bytes()[8:12], sys.byteorder)


def _measure_commit(times: int = 200) -> float:
    """Measure a small transaction of SQLite, until the disk has it: the median."""
    took = []
    with (
        tempfile.TemporaryDirectory(dir=Path(__file__).parent.parent) as folder,
        closing(sqlite3.connect(Path(folder) / "state.db", isolation_level=None)) as state,
    ):
        state.execute("PRAGMA synchronous = FULL")
        state.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        for _ in range(times):
            began = time.perf_counter()
            state.execute("INSERT INTO t (text) VALUES (printf('%.500c', 'x'))")
            took.append(time.perf_counter() - began)
    return median(took)


def _count_rows(facts: Facts, report: Report) -> int:
    """Count the rows of plays that a report reads."""
    start, end = report.span(0)
    only = "" if report.channel is None else f"AND owner_channel_id = '{report.channel}'"
    source = facts.source("plays", start, end)
    with duckdb.connect() as session:
        counted = session.execute(
            f"SELECT count(*) FROM {source} WHERE started_at::DATE BETWEEN '{start}' AND '{end}' {only}"
        )
        return int(counted.fetchall()[0][0])


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of plays")
    parser.add_argument("--large", type=int, default=100_000_000, help="rows of a larger table, for the footers")
    parser.add_argument("--times", type=int, default=100, help="small reports; of the footers two fifths as many turns")
    given = parser.parse_args()
    facts, large = Facts(given.rows), Facts(given.large)
    facts.ready()
    large.ready()
    figures = measure(facts, large, given.times)
    figures.save()
    print(figures)


if __name__ == "__main__":
    main()

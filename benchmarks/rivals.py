"""What a report of the service is held against, each in a process of its own: the bare engine, pandas, PostgreSQL."""

from __future__ import annotations

import functools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import duckdb

from benchmarks.facts import Facts
from benchmarks.measure import Took, measured
from benchmarks.pandas_script import write
from benchmarks.postgres import Cluster
from benchmarks.reports import Report

_CSV = "FORMAT csv, HEADER true"
ROW_BYTES = 190
"""Memory that pandas needs for the huge report by row of plays, as measured at 10 million of them."""


class Rival(Protocol):
    """Who can write the CSV of a report."""

    name: str

    def write(self, report: Report, shift: int, to: Path) -> Took:
        """Write the report of these days to a file, and say what it took."""

    def close(self) -> None:
        """Let go of its process."""


class Bare:
    """The bare engine: DuckDB's COPY of hand-written SQL over the service's files, warm like its worker."""

    name = "duckdb"

    def __init__(self, facts: Facts, memory: str, threads: int) -> None:
        self._facts = facts
        opening = (memory, threads, str(facts.folder / "spill"))
        self._process = ProcessPoolExecutor(1, get_context("spawn"), _open, opening)

    def write(self, report: Report, shift: int, to: Path) -> Took:
        """Write the report of these days to a file, and say what it took."""
        span = report.span(shift)
        sources = {table: self._facts.source(table, *span) for table in report.tables}
        return self._process.submit(_copied, report.sql("duckdb", shift, sources), str(to)).result()

    def close(self) -> None:
        """End its process."""
        self._process.shutdown()


class Pandas:
    """A script with pandas over the same files: what it reads is cut down to the report's days, rows and columns."""

    name = "pandas"

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        # A script runs once: what one report leaves in memory must not count for the next.
        self._process = ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1)

    def write(self, report: Report, shift: int, to: Path) -> Took:
        """Write the report of these days to a file, and say what it took."""
        span = report.span(shift)
        files = {table: self._facts.files(table, *span) for table in report.tables}
        return self._process.submit(measured, write, report, shift, files, to).result()

    def close(self) -> None:
        """End its process."""
        self._process.shutdown()


class Postgres:
    """PostgreSQL with the facts copied in by channel and time, indexed so; its own COPY writes the CSV."""

    name = "postgres"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def write(self, report: Report, shift: int, to: Path) -> Took:
        """Write the report of these days to a file, and say what it took."""
        return self._cluster.copied(report.sql("postgres", shift, {}), to)

    def close(self) -> None:
        """Stop the server."""
        self._cluster.stop()


@functools.cache
def _session() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def _open(memory: str, threads: int, spill: str) -> None:
    settings = {"memory_limit": f"'{memory}'", "threads": str(threads), "temp_directory": f"'{spill}'"}
    settings["enable_progress_bar"] = "false"
    for name, value in {**settings, "TimeZone": "'UTC'", "parquet_metadata_cache": "true"}.items():
        _session().execute(f"SET {name} = {value}")


def _copied(sql: str, to: str) -> Took:
    return measured(_session().execute, f"COPY ({sql}) TO '{to}' ({_CSV})")

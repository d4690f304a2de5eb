"""Aggregators that do their half by themselves, in a DuckDB of their own, and hand over what came of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from reelport.engine.aggregation import DUCKDB, Aggregator, read_parquet
from reelport.engine.resolved_query import ResolvedQuery
from reelport.facts.log.snapshot import Snapshot


@dataclass(frozen=True)
class ByParquet(Aggregator):
    """Hands over Parquet files of a few rows each."""

    folder: Path

    def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
        """Aggregate into files, whose names no earlier report had."""
        rows = aggregated(resolved, snapshot)
        self.folder.mkdir(parents=True, exist_ok=True)
        name = secrets.token_hex(8)
        parts = [rows.slice(start, 50) for start in range(0, rows.num_rows or 1, 50)]
        files = [self.folder / f"{name}-{number}.parquet" for number in range(len(parts))]
        for part, file in zip(parts, files, strict=True):
            pq.write_table(part, file)
        return read_parquet(resolved, [str(file) for file in files])


@dataclass(frozen=True)
class ByHalves(Aggregator):
    """Adds up, key by key, the days up to `cut`, kept as Parquet, and fresh facts of the others."""

    cut: date
    folder: Path

    def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
        """Aggregate the days to keep, and leave the others to the statement that adds both up."""
        before, after = replace(resolved, end=self.cut), replace(resolved, start=self.cut + timedelta(days=1))
        kept = ByParquet(self.folder).aggregate(before, snapshot)
        fresh = DUCKDB.aggregate(after, snapshot)
        keys = [key.header for key in resolved.keys]
        columns = ", ".join([*keys, *(f"SUM({name}) AS {name}" for name in resolved.measures)])
        groups = f"GROUP BY {', '.join(keys)}" if keys else ""
        return f"SELECT {columns} FROM ({kept} UNION ALL {fresh}) AS parts {groups} HAVING COUNT(*) > 0"


@dataclass(frozen=True)
class Recorded(Aggregator):
    """Has another aggregator aggregate, and keeps of what it was asked."""

    other: Aggregator
    asked: list[ResolvedQuery] = field(default_factory=list)

    def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
        """Aggregate as the other one does."""
        self.asked.append(resolved)
        return self.other.aggregate(resolved, snapshot)


def aggregated(resolved: ResolvedQuery, snapshot: Snapshot) -> pa.Table:
    """The query's aggregated rows, by its column types, in the reverse of the order that a report has."""
    select = DUCKDB.aggregate(resolved, snapshot)
    columns = ", ".join(f"CAST({name} AS {type_}) AS {name}" for name, type_ in resolved.column_types.items())
    with _database().cursor() as session:  # to open one for each aggregation would take longer than most of them
        session.execute("SET TimeZone = 'UTC'")
        return session.sql(f"SELECT {columns} FROM ({select}) ORDER BY ALL DESC").to_arrow_table()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()

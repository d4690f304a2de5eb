"""Aggregates within DuckDB's one statement, from rollups for whole days."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlglot import exp

from reelport.engine.aggregation import Aggregation, Aggregator
from reelport.engine.grouping import DUCKDB, DuckDBAggregator, group_rows
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.rollups.choice import (
    Choice,
    Reading,
    RollupList,
    choose,
    list_files_of_days,
)
from reelport.engine.rollups.shape import rollup_columns
from reelport.engine.trees import subquery
from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.data_files.projection import project_sql
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.rollups import Segment, forget_files, list_files_by_day
from reelport.facts.tables import TABLES, Kind
from reelport.sql_quoting import quote_name
from reelport.storage.digests import DigestCheck


@dataclass(frozen=True, slots=True)
class RollupRelations(Relations):
    """The pinned tables of one report, with rollups for the days read from them."""

    readings: dict[str, Reading] = field(default_factory=dict)

    def rows(self, source_query: SourceQuery) -> exp.Expr:
        """Rows of facts, and rows that sum up all facts of their days."""
        reading = self.readings.get(source_query.source.name)
        if reading is None:
            return Relations.rows(self, source_query)
        table = reading.rollup.table
        columns = ", ".join(map(quote_name, rollup_columns(reading.rollup)))
        sources = self._list_sources(reading, self._list_paths(source_query, reading))
        parts = [f"SELECT {columns} FROM {source}" for source in sources]  # noqa: S608 - our tables' own names
        return subquery(exp.Var(this=" UNION ALL ".join(parts)), table)

    def _list_paths(self, source_query: SourceQuery, reading: Reading) -> list[str]:
        channels = self.channels if source_query.owner_only else None
        table, others = reading.rollup.table, reading.other_days
        files = self.snapshot.data_files(table, self.start, self.end, channels)
        wanted = list_files_of_days(files, list_files_by_day(self.snapshot.listing[table]), others)
        return list(self.snapshot.paths(table, wanted, channels))

    def _list_sources(self, reading: Reading, paths: list[str]) -> Iterable[str]:
        # A segment may still hold days that have no facts any more: those of the report must not be read.
        whole = [segment for segment, days in reading.parts if self._list_days(segment) == days]
        if whole:
            yield parquet_source([str(segment.data) for segment in whole])
        for segment, days in reading.parts:
            if segment not in whole:
                yield f"{parquet_source([str(segment.data)])} WHERE {in_days_sql(reading.rollup.table, days)}"
        if paths:
            table = TABLES[reading.rollup.table]
            yield f"({project_sql(table, parquet_source(paths))}) WHERE {in_days_sql(table.name, reading.other_days)}"

    def _list_days(self, segment: Segment) -> frozenset[date]:
        return frozenset(day for day in segment.days if self.start <= day <= self.end)


def in_days_sql(table: str, days: Iterable[date]) -> str:
    """Write the condition that a row of the table lies on one of these days."""
    name = TABLES[table].time or ""
    is_day = TABLES[table].column(name).kind is Kind.DAY
    ranges = []
    for first, last in find_runs(days):
        after = last + timedelta(days=1)
        low, high = (f"DATE '{day}'" if is_day else f"TIMESTAMPTZ '{day} 00:00:00+00:00'" for day in (first, after))
        ranges.append(f"({quote_name(name)} >= {low} AND {quote_name(name)} < {high})")
    return f"({' OR '.join(ranges)})"


def find_runs(days: Iterable[date]) -> Iterable[tuple[date, date]]:
    """Find the runs of days without a gap, each as its first and its last day."""
    runs: list[tuple[date, date]] = []
    for day in sorted(days):
        if runs and day - runs[-1][1] == timedelta(days=1):
            runs[-1] = runs[-1][0], day
        else:
            runs.append((day, day))
    return runs


class RollupAggregator(Aggregator):
    """Aggregates one report with rollups, or by DuckDB from the facts where none gives a day.

    `choices` are those of each piece so far. With a `check`, StorageError is raised for a file that is not as it was
    written. `scans` are those of DuckDBAggregator.
    """

    def __init__(
        self, rollups: RollupList, check: DigestCheck | None = None, scans: dict[str, str] | None = None
    ) -> None:
        self.choices: list[Choice] = []
        self._rollups = rollups
        self._check = check
        self._scans = scans
        self._known: list[tuple[Snapshot, SourceQuery, Choice]] = []

    def aggregate(self, aggregation: Aggregation, snapshot: Snapshot) -> exp.Query:
        """Give a subquery, which computes nothing yet, where rollups give any of the days."""
        chosen = [self._choose(source_query, snapshot) for source_query in aggregation.sources]
        self.choices.extend(chosen)
        readings = {choice.source: choice.reading for choice in chosen if choice.reading is not None}
        if self._check is not None:
            self.require_intact(self._check)
        if not readings:
            return DuckDBAggregator(self._scans).aggregate(aggregation, snapshot)
        asked = aggregation.resolved
        relations = RollupRelations(
            snapshot, asked.start, asked.end, asked.tenant.listed_channels, scans=self._scans, readings=readings
        )
        return group_rows(aggregation, relations)

    def count_rows_read(self, aggregation: Aggregation, snapshot: Snapshot) -> int:
        """Count the rows that are read at most, of rollups or of facts."""
        return sum(self._choose(source_query, snapshot).rows for source_query in aggregation.sources)

    def without(self) -> Aggregator:
        """DuckDB over the facts."""
        return DUCKDB

    def require_intact(self, check: DigestCheck) -> None:
        """Compare what is read with its digests, as far as checked: StorageError if it differs."""
        for choice in self.choices:
            for segment, _ in () if choice.reading is None else choice.reading.parts:
                check.require(segment.data, segment.digest)

    def forget(self) -> None:
        """Let no report use the rollups that were read, until they are built anew."""
        readings = [choice.reading for choice in self.choices if choice.reading is not None]
        forget_files(segment for reading in readings for segment, _ in reading.parts)

    @property
    def was_used(self) -> bool:
        """Whether any day of the report is read from a rollup."""
        return any(choice.reading is not None for choice in self.choices)

    def _choose(self, source_query: SourceQuery, snapshot: Snapshot) -> Choice:
        """Choose a source's rollup, or recall the choice: a report is counted before it is made."""
        for pinned, known, choice in self._known:
            if pinned is snapshot and known == source_query:
                return choice
        chosen = choose(source_query, snapshot, self._rollups)
        self._known.append((snapshot, source_query, chosen))
        return chosen

"""Chooses the rollup that a source of a report reads, and aggregates the report with it.

A day is read from a rollup only if that day was built from exactly the pinned version's files, else from the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path

from reelport.catalog import Dimension, Distinct, Grain, Stock, measures
from reelport.engine.aggregation import DUCKDB, Aggregator, group_rows
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.mapping import CELLS, MEASURES, QUALIFYING, Source, TimeCell
from reelport.engine.relations import Relations
from reelport.engine.report_size import RowGroupIndex
from reelport.engine.resolved_query import ResolvedQuery, SourceQuery, resolve_query
from reelport.engine.rollups.columns import identity_of, list_columns, rollup_columns, tenant_columns
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError
from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.data_files.projection import in_days, project_sql
from reelport.facts.log.log_entry import DataFile, merge_spans
from reelport.facts.log.role_copies import ROLES
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.facts.rollups import Files, Rollup, Segment, forget_files, list_files_by_day, list_rollups, list_segments
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery
from reelport.sql_quoting import quote_name
from reelport.storage.digests import DigestCheck
from reelport.wording import format_count, format_list

_FOOTERS_MEMORY = "256MB"
"""What the engine may take that reads the descriptions of copies."""
Parts = tuple[tuple[Segment, frozenset[date]], ...]
"""Segments, each with the days that are read from it. No day is in two of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a rollup: its parts for their days, and facts for all other days.

    `rows` are about those that are read, of both; `all_days` are the days of the report that have facts.
    """

    rollup: Rollup
    parts: Parts
    all_days: frozenset[date]
    rows: int

    @property
    def days(self) -> frozenset[date]:
        """The days that are read from the rollup."""
        return frozenset().union(*(days for _, days in self.parts))

    @property
    def other_days(self) -> frozenset[date]:
        """The days that are read from the facts."""
        return self.all_days - self.days


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read for one source of a report: a rollup's days, or facts alone (no `reading`).

    `refused` tells why each other rollup of the table is not used, by its name. `fact_rows` are the rows that are read
    at most without any rollup.
    """

    source_query: SourceQuery
    reading: Reading | None
    refused: Mapping[str, str]
    fact_rows: int

    @property
    def source(self) -> Source:
        """The source that is read."""
        return self.source_query.source

    @property
    def rows(self) -> int:
        """About the rows that are read."""
        return self.fact_rows if self.reading is None else self.reading.rows


@dataclass(frozen=True, slots=True)
class RollupList:
    """The rollups of some tables with their segments, as they were found at one moment."""

    segments: Mapping[Rollup, tuple[Segment, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> RollupList:
        """Read which rollups and segments there are. No folder of rollups, none."""
        return cls({rollup: list_segments(root, rollup, identity_of(rollup)) for rollup in list_rollups(root)})

    def __bool__(self) -> bool:
        return bool(self.segments)

    def of_table(self, table: str) -> Mapping[Rollup, tuple[Segment, ...]]:
        """The rollups of one table."""
        return {rollup: segments for rollup, segments in self.segments.items() if rollup.table == table}


def choose(source_query: SourceQuery, snapshot: Snapshot, rollups: RollupList) -> Choice:
    """Choose the rollup that makes the fewest rows be read, if any makes it no more."""
    source, resolved = source_query.source, source_query.resolved
    files = snapshot.data_files(source.table, resolved.start, resolved.end)
    own = source_query.list_files(snapshot)
    file_rows = sum(file.rows for file in own)
    # Both are sorted by owner: a report reads about the share of a rollup that it reads of the facts.
    share = file_rows / max(sum(file.rows for file in files), 1)
    refused: dict[str, str] = {}
    readings: list[Reading] = []
    needs = find_needs(source_query)
    for rollup, segments in rollups.of_table(source.table).items():
        problem = needs if isinstance(needs, str) else needs.find_lack(rollup)
        reading = problem or _read_days(source_query, snapshot, rollup, segments, own, share)
        if isinstance(reading, Reading):
            readings.append(reading)
        else:
            refused[rollup.name] = reading
    best = min(readings, key=lambda each: (each.rows, each.rollup.name), default=None)
    # Descriptions of copies are read only where there is something to compare them with.
    copied = None if best is None else _count_copied_rows(source_query, snapshot)
    fact_rows = file_rows if copied is None else copied
    if best is not None and best.rows > fact_rows:
        best = None
    for each in readings:
        if each is not best:
            other = "the facts need" if best is None else f"{best.rollup.name} needs"
            refused[each.rollup.name] = f"{format_count(each.rows, 'row')} to read: {other} no more"
    return Choice(source_query, best, refused, fact_rows)


def _count_copied_rows(source_query: SourceQuery, snapshot: Snapshot) -> int | None:
    """Count the rows that are read of copies by the one role that counts; None without copies.

    Row groups alone tell how much copies save over rollups, which are sorted by owner. A copy that can't be read is for
    the report to tell.
    """
    resolved, table, role = source_query.resolved, source_query.source.table, source_query.only_role
    if role in ROLES and snapshot.has_copies(table, resolved.start, resolved.end, role):
        with suppress(InternalError):
            return _find_row_groups().count_rows(source_query, snapshot)
    return None


@cache
def _find_row_groups() -> RowGroupIndex:
    """The index of the row groups of copies, one a process: what it has read of a file stays."""
    return RowGroupIndex(QueryEngine(_FOOTERS_MEMORY, 1, None))


def _read_days(
    source_query: SourceQuery,
    snapshot: Snapshot,
    rollup: Rollup,
    segments: tuple[Segment, ...],
    own: tuple[DataFile, ...],
    share: float,
) -> Reading | str:
    """Find what can be read of the rollup; a sentence where that is no day.

    `own` are the files of facts that the report may read, `share` is the part of all rows that they hold.
    """
    resolved, by_day = source_query.resolved, list_files_by_day(snapshot.listing[source_query.source.table])
    asked = {day: files for day, files in by_day.items() if resolved.start <= day <= resolved.end}
    if not asked:
        return "there are no facts of these days"
    parts = choose_parts(segments, asked)
    if not parts:
        stale = any(day in segment.days for segment in segments for day in asked)
        return "its days were built from other files: build it" if stale else "none of these days is built: build it"
    built = frozenset().union(*(days for _, days in parts))
    others = frozenset(asked) - built
    built_rows = sum(segment.days[day].rows for segment, days in parts for day in days)
    rest = list_files_of_days(own, by_day, others)
    return Reading(rollup, parts, frozenset(asked), round(built_rows * share) + sum(file.rows for file in rest))


def choose_parts(segments: Iterable[Segment], asked: Mapping[date, Files]) -> Parts:
    """Choose the segment that each day is read from; the one with the most valid days first."""
    valid = [(segment, segment.valid_days(asked)) for segment in segments]
    taken: set[date] = set()
    parts = []
    for segment, days in sorted(valid, key=lambda each: (-len(each[1]), each[0].manifest.name)):
        if fresh := days - taken:
            parts.append((segment, fresh))
            taken |= fresh
    return tuple(parts)


def list_files_of_days(
    files: Iterable[DataFile], by_day: Mapping[date, Files], days: Iterable[date]
) -> tuple[DataFile, ...]:
    """List those of the files that may hold rows of the days; `by_day` has each day's names."""
    names = frozenset[str]().union(*(by_day[day] for day in days))
    return tuple(file for file in files if file.path in names)


@dataclass(frozen=True, slots=True)
class Needs:
    """Columns and grain that a rollup must have, but for columns that every rollup keeps."""

    table: str
    columns: frozenset[str]
    grain: Grain

    def find_lack(self, rollup: Rollup) -> str | None:
        """Say what the rollup lacks; None when it has all."""
        if lacking := sorted(self.columns.difference(rollup.columns)):
            return f"it has no {format_list(lacking)}"
        return "it has days and no hours" if self.grain < rollup.grain else None


def find_needs(source_query: SourceQuery) -> Needs | str:
    """Find what the source query needs; a sentence where no rollup can give it."""
    problem = next(_find_problems(source_query), None)
    if problem is not None:
        return problem
    cells = [CELLS[dimension] for dimension in _list_dimensions(source_query)]
    names = {name for cell in cells for name in list_columns(cell)} - {QUALIFYING}
    own = {source_query.source.column(name) or name for name in names}
    grains = [cell.grain for cell in cells if isinstance(cell, TimeCell)]
    table = source_query.source.table
    return Needs(table, frozenset(own - tenant_columns(table)), min([*grains, Grain.DAY]))


def _find_problems(source_query: SourceQuery) -> Iterator[str]:
    source = source_query.source
    if not TABLES[source.table].is_fact:
        yield f"{source.table} are objects and no facts of days"
    for metric in source_query.resolved.metrics:
        if not any(MEASURES[name].source is source for name in measures(metric.rule)):
            continue
        match metric.rule:
            case Distinct():
                yield f"{metric.name} is a distinct count, which does not add up"
            case Stock():
                yield f"{metric.name} is a stock, which does not add up over days"
            case rule if not all(MEASURES[name].is_summable for name in measures(rule)):
                yield f"{metric.name} does not add up"
    for dimension in _list_dimensions(source_query):
        if dimension.many_valued:
            yield f"{dimension.name} puts one fact into several rows"
        if dimension.grain is Grain.MINUTE:
            yield f"{dimension.name} is finer than the hours of any rollup"


def _list_dimensions(source_query: SourceQuery) -> Iterator[Dimension]:
    yield from source_query.resolved.dimensions
    yield from (dimension for dimension, _ in source_query.resolved.conditions)


def explain(query: ReportQuery, tenant: Tenant, snapshot: Snapshot, rollups: RollupList) -> tuple[Choice, ...]:
    """Choose what a report of a checked query would read, in one piece, by source."""
    return tuple(choose(each, snapshot, rollups) for each in resolve_query(query, tenant).sources)


def describe_use(choice: Choice) -> str:
    """Say what a source is read from: `plays-day-3fa91c: 28 of 30 days, 12 of 500 rows`."""
    if choice.reading is None:
        return f"the facts: {format_count(choice.fact_rows, 'row')}"
    reading = choice.reading
    days = f"{len(reading.days):,} of {format_count(len(reading.all_days), 'day')}"
    return f"{reading.rollup.name}: {days}, {reading.rows:,} of {format_count(choice.fact_rows, 'row')}"


def summarize_uses(choices: Iterable[Choice]) -> list[str]:
    """Say what the pieces of a report used: of each rollup, how many of the days."""
    read: dict[str, int] = {}
    all_days: dict[str, int] = {}
    for choice in choices:
        if choice.reading is not None:
            name = f"{choice.source.name} from {choice.reading.rollup.name}"
            read[name] = read.get(name, 0) + len(choice.reading.days)
            all_days[name] = all_days.get(name, 0) + len(choice.reading.all_days)
    return [f"{name}: {days:,} of {format_count(all_days[name], 'day')}" for name, days in read.items()]


def summarize_refusals(choices: Iterable[Choice]) -> list[str]:
    """Say why rollups were refused, each reason once."""
    found = (
        f"{choice.source.name} not from {name}: {why}" for choice in choices for name, why in choice.refused.items()
    )
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class StoredRollup:
    """A rollup, how many days of the newest facts it has, and what it takes.

    `rows` are those of these days, `fact_rows` all of the table's.
    """

    rollup: Rollup
    valid_days: int
    all_days: int
    rows: int
    fact_rows: int
    bytes: int


def list_stored(root: Path) -> tuple[StoredRollup, ...]:
    """List every rollup, by name."""
    found = []
    for rollup, segments in RollupList.read(root).segments.items():
        files = pin(root, (rollup.table,)).listing[rollup.table]
        by_day = list_files_by_day(files)
        parts = choose_parts(segments, by_day)
        rows = sum(segment.days[day].rows for segment, days in parts for day in days)
        valid = sum(len(days) for _, days in parts)
        size = sum(segment.data.stat().st_size for segment, _ in parts if segment.data.exists())
        found.append(StoredRollup(rollup, valid, len(by_day), rows, sum(file.rows for file in files), size))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RollupRelations(Relations):
    """The pinned tables of one report, with rollups for the days read from them."""

    readings: dict[str, Reading] = field(default_factory=dict)

    def rows(self, source_query: SourceQuery) -> str:
        """Rows of facts, and rows that sum up all facts of their days."""
        reading = self.readings.get(source_query.source.name)
        if reading is None:
            return Relations.rows(self, source_query)
        table = reading.rollup.table
        columns = ", ".join(map(quote_name, rollup_columns(reading.rollup)))
        sources = _list_sources(source_query.resolved, reading, self._list_paths(source_query, reading))
        parts = [f"SELECT {columns} FROM {source}" for source in sources]  # noqa: S608 - our tables' own names
        return f"({' UNION ALL '.join(parts)}) AS {table}"

    def _list_paths(self, source_query: SourceQuery, reading: Reading) -> list[str]:
        table, files = reading.rollup.table, source_query.list_files(self.snapshot)
        wanted = list_files_of_days(files, list_files_by_day(self.snapshot.listing[table]), reading.other_days)
        return list(self.snapshot.paths(table, wanted))


def _list_sources(resolved: ResolvedQuery, reading: Reading, paths: list[str]) -> Iterable[str]:
    def holds_these_alone(segment: Segment, days: frozenset[date]) -> bool:
        return days == {day for day in segment.days if resolved.start <= day <= resolved.end}

    # A segment may still hold days that have no facts any more: those of the report must not be read.
    whole = [segment for segment, days in reading.parts if holds_these_alone(segment, days)]
    if whole:
        yield parquet_source([str(segment.data) for segment in whole])
    for segment, days in reading.parts:
        if segment not in whole:
            yield f"{parquet_source([str(segment.data)])} WHERE {in_days_sql(reading.rollup.table, days)}"
    if paths:
        table = TABLES[reading.rollup.table]
        yield f"({project_sql(table, parquet_source(paths))}) WHERE {in_days_sql(table.name, reading.other_days)}"


def in_days_sql(table: str, days: Iterable[date]) -> str:
    """Write the condition that a row of the table lies on one of these days."""
    spans = merge_spans((day, day) for day in days)
    return f"({' OR '.join(in_days(TABLES[table], *span) for span in spans)})"


class RollupAggregator(Aggregator):
    """Aggregates one report with rollups, or by DuckDB from the facts where none gives a day.

    `choices` are those of each piece so far. With a `check`, StorageError is raised for a file that is not as it was
    written. If it `shares_scans`, its SQL reads from scans by name, and `scans` has the SQL of each.
    """

    def __init__(self, rollups: RollupList, check: DigestCheck | None = None, *, shares_scans: bool = False) -> None:
        self.choices: list[Choice] = []
        self.scans: dict[str, str] = {}
        self._rollups = rollups
        self._check = check
        self._shares_scans = shares_scans
        self._known: list[tuple[Snapshot, SourceQuery, Choice]] = []

    def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
        """Give a subquery, which computes nothing yet, where rollups give any of the days."""
        chosen = [self._choose(source_query, snapshot) for source_query in resolved.sources]
        self.choices.extend(chosen)
        readings = {choice.source.name: choice.reading for choice in chosen if choice.reading is not None}
        if self._check is not None:
            self.require_intact(self._check)
        scans = self.scans if self._shares_scans else None
        return group_rows(resolved, RollupRelations(snapshot, scans=scans, readings=readings))

    def count_rows_read(self, resolved: ResolvedQuery, snapshot: Snapshot) -> int:
        """Count the rows that are read at most, of rollups or of facts."""
        return sum(self._choose(source_query, snapshot).rows for source_query in resolved.sources)

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

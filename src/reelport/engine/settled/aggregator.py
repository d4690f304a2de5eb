"""Aggregates a report from kept months, and from the facts of its other days.

A month's key is the SQL that aggregates it from the facts: the question, the tenant, the filters, and the very files
of facts and objects that are read. So a kept month is used for exactly the rows that the SQL would give.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from sqlglot import exp

from reelport.engine.aggregation import AggregatedRelation, Aggregation, Aggregator, plan_aggregation, read_parquet
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.rollups.aggregator import RollupAggregator
from reelport.engine.rollups.choice import RollupList, count_rows_read
from reelport.engine.settled.store import KeptMonths, find_digest
from reelport.engine.trees import DIALECT, alias, cast, number, subquery
from reelport.errors import DiskFull
from reelport.facts.log.snapshot import Snapshot
from reelport.storage.digests import DigestCheck

LAYOUT = 1
"""The version of how months are stored; another one finds none of them."""
LEAST_ROWS = 200_000
"""Rows of facts in a month from which it is worth keeping."""
_DAY = timedelta(days=1)
_OPTIONS = "FORMAT PARQUET, COMPRESSION ZSTD"
Run = Callable[[str], None]
"""Runs a statement in the engine's session that writes the report, so that whatever stops that stops it too."""


Span = tuple[date, date]
"""The first and the last day of some days in a row."""


@dataclass(frozen=True, slots=True)
class SettledAggregator:
    """Aggregates one report from kept months, and has another aggregate its other days.

    `settled` is the first day that counts as not settled yet. Months of fewer facts than `least_rows` are not kept.
    `used` are the files of the months that were read. With a `check`, StorageError is raised for one that is not as it
    was written.
    """

    kept: KeptMonths
    other: Aggregator
    run: Run
    settled: date
    least_rows: int = LEAST_ROWS
    check: DigestCheck | None = None
    used: list[Path] = field(default_factory=list)

    def aggregate(self, aggregation: Aggregation, snapshot: Snapshot) -> AggregatedRelation:
        """Give the months that are kept, or are from now on, beside what the other aggregates."""
        found: dict[Span, Path] = {}
        kept_before: list[Path] = []
        for span in self._list_months(aggregation, snapshot):
            month = _narrow(aggregation, span)
            key = make_key(month, snapshot)
            if (path := self.kept.find(key)) is not None:
                kept_before.append(path)
            else:
                path = self._keep(key, month, snapshot)
            if path is not None:
                found[span] = path
        if not found:
            return self.other.aggregate(aggregation, snapshot)
        self.used.extend(found.values())
        if self.check is not None:
            for path in kept_before:
                self.check.require(path, find_digest(path))
        parts = [read_parquet(aggregation, [str(path) for path in found.values()])]
        gaps = _list_gaps(aggregation.resolved.start, aggregation.resolved.end, found)
        parts += [self.other.aggregate(_narrow(aggregation, gap), snapshot) for gap in gaps]
        arrow = {name: rows for part in parts for name, rows in part.arrow.items()}
        return AggregatedRelation(_add_up(aggregation, [part.select for part in parts]), arrow)

    def count_rows_read(self, aggregation: Aggregation, snapshot: Snapshot) -> int:
        """Count the rows that are read at most, as if no month were kept."""
        rollups = self.other.rollups if isinstance(self.other, RollupAggregator) else RollupList()
        return count_rows_read(aggregation, snapshot, rollups)

    @property
    def plain(self) -> Aggregator:
        """The aggregator that reads no kept sums."""
        return self.other.plain if isinstance(self.other, RollupAggregator) else self.other

    def forget(self) -> None:
        """Delete the months that were read, and let the rollups be read no more."""
        for path in self.used:
            self.kept.delete(path)
        if isinstance(self.other, RollupAggregator):
            self.other.forget()

    def describe_uses(self) -> list[str]:
        """Say how many kept months were read, and what of rollups."""
        of_rollups = self.other.describe_uses() if isinstance(self.other, RollupAggregator) else []
        months = [f"settled months: {len(self.used)}"] if self.used else []
        return [*months, *of_rollups]

    def describe_refusals(self) -> list[str]:
        """Say why rollups were not read."""
        return self.other.describe_refusals() if isinstance(self.other, RollupAggregator) else []

    @property
    def was_used(self) -> bool:
        """Whether any kept sums were read, of a month or of a rollup."""
        return bool(self.used) or (isinstance(self.other, RollupAggregator) and self.other.was_used)

    def _list_months(self, aggregation: Aggregation, snapshot: Snapshot) -> Iterator[Span]:
        """List the settled months within the days that are worth keeping, if months add up."""
        resolved = aggregation.resolved
        if not aggregation.is_additive:
            return
        tables = {source_query.source.table for source_query in aggregation.sources}
        for first, last in list_whole_months(resolved.start, min(resolved.end, self.settled - _DAY)):
            rows = (file.rows for table in tables for file in snapshot.data_files(table, first, last))
            if sum(rows) >= self.least_rows:
                yield first, last

    def _keep(self, key: str, month: Aggregation, snapshot: Snapshot) -> Path | None:
        """Keep the month if it is asked for again; None where it isn't kept."""
        if not self.kept.is_asked_again(key):
            return None
        # From the facts, as its key says: a rollup that is wrong is forgotten, and its sums must not outlive it here.
        relation = self.plain.aggregate(month, snapshot)
        if relation.arrow:
            return None
        sql = _select_stored(month, relation.select).sql(dialect=DIALECT, copy=False)
        try:
            return self.kept.keep(key, lambda draft: self.run(f"COPY ({sql}) TO {_quote(draft)} ({_OPTIONS})"))
        except DiskFull:
            return None


def make_key(month: Aggregation, snapshot: Snapshot) -> str:
    """Make the key of an aggregated month: a hash of the SQL that gives its rows."""
    sql = DUCKDB.aggregate(month, snapshot).select.sql(dialect=DIALECT, copy=False)
    return hashlib.sha256(f"{LAYOUT} {sql}".encode()).hexdigest()


def list_whole_months(start: date, end: date) -> Iterator[Span]:
    """List the calendar months that lie wholly within these days."""
    if start > end:
        return
    first = start if start.day == 1 else _next_month(start)
    while (last := _next_month(first) - _DAY) <= end:
        yield first, last
        first = last + _DAY


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _narrow(aggregation: Aggregation, span: Span) -> Aggregation:
    return plan_aggregation(replace(aggregation.resolved, start=span[0], end=span[1]))


def _list_gaps(start: date, end: date, found: Iterable[Span]) -> Iterator[Span]:
    """List the days from start to end that lie in none of these spans, as spans."""
    for first, last in sorted(found):
        if start < first:
            yield start, first - _DAY
        start = last + _DAY
    if start <= end:
        yield start, end


def _select_stored(month: Aggregation, select: exp.Query) -> exp.Select:
    """Select the columns by the types in which Parquet holds them exactly."""
    columns = (alias(cast(exp.column(name), type_), name) for name, type_ in month.columns.items())
    return exp.select(*columns).from_(subquery(select, "month"), copy=False)


def _add_up(aggregation: Aggregation, selects: list[exp.Query]) -> exp.Query:
    """Add up relations of different days, key by key.

    Where a key is a time, no two of them have a row in common, for each has months of its own.
    """
    both, *others = selects
    for other in others:
        both = exp.Union(this=both, expression=other, distinct=False)
    if any(key.grain is not None for key in aggregation.keys):
        return both
    keys = [exp.column(key.header) for key in aggregation.keys]
    sums = (alias(exp.Sum(this=exp.column(measure.name)), measure.name) for measure in aggregation.measures)
    tree = exp.select(*keys, *sums).from_(subquery(both, "parts"), copy=False)
    if keys:
        return tree.group_by(*(key.copy() for key in keys), copy=False)
    # Without keys SQL gives one row even of no rows.
    return tree.having(exp.GT(this=exp.Count(this=exp.Star()), expression=number(0)), copy=False)


def _quote(path: Path) -> str:
    return exp.Literal.string(str(path)).sql(dialect=DIALECT)

"""The first half of a report: what is aggregated, the relation it gives, and who does it.

A report is aggregated (scanned, filtered, joined, grouped), then its rows are written (`engine.report_rows`).
Only the first half may be computed elsewhere, so that the bytes of a report never depend on where it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from reelport.catalog import Dimension, Distinct, Grain, measures
from reelport.engine.mapping import MEASURES, find_sources
from reelport.engine.relations import late_lookups
from reelport.engine.resolved_query import ResolvedQuery, SourceQuery, make_source_query
from reelport.engine.trees import WIDEST_DECIMAL, alias, cast
from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.log.snapshot import Snapshot

_TIMES = ("TIMESTAMP", "DATE")
"""The SQL types of times finer than a day, and of days and months."""


@dataclass(frozen=True, slots=True)
class AggregatedMeasure:
    """A measure as a column: a sum, or a count of distinct values; `digits` are decimal digits.

    A stock is a sum, too: `engine.grouping` leaves the rows of its day alone.
    """

    name: str
    is_distinct_count: bool
    digits: int

    @property
    def type(self) -> str:
        """Its SQL type. Sums are decimals, as DuckDB writes a HUGEINT to Parquet as a double."""
        return "BIGINT" if self.is_distinct_count else f"DECIMAL({WIDEST_DECIMAL}, {self.digits})"


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is aggregated: columns to group by, but for those looked up late, then the measures."""

    resolved: ResolvedQuery
    sources: tuple[SourceQuery, ...]
    keys: tuple[Dimension, ...]
    measures: tuple[AggregatedMeasure, ...]

    @property
    def columns(self) -> dict[str, str]:
        """The SQL type of each column, by name and in order. Times are UTC, without a zone."""
        keys = {key.header: "TEXT" if key.grain is None else _TIMES[key.grain >= Grain.DAY] for key in self.keys}
        return keys | {measure.name: measure.type for measure in self.measures}


def plan_aggregation(resolved: ResolvedQuery) -> Aggregation:
    """Plan the aggregation of a query. It has no sources where no row can be the tenant's."""
    found = (make_source_query(resolved, source) for source in find_sources(resolved.metrics))
    is_distinct = {
        name: isinstance(metric.rule, Distinct) for metric in resolved.metrics for name in measures(metric.rule)
    }
    late = late_lookups(resolved)
    return Aggregation(
        resolved,
        tuple(source_query for source_query in found if source_query),
        tuple(dimension for dimension in resolved.dimensions if dimension not in late),
        tuple(AggregatedMeasure(name, distinct, MEASURES[name].digits) for name, distinct in is_distinct.items()),
    )


def read_parquet(aggregation: Aggregation, files: Sequence[str]) -> exp.Select:
    """Select an aggregation's columns from Parquet files that have its columns and types."""
    # As DuckDB itself aggregates them: rates are computed in whole numbers, so sums of counts are HUGEINT.
    sums = [measure.name for measure in aggregation.measures if not measure.is_distinct_count and not measure.digits]
    types = aggregation.columns | dict.fromkeys(sums, "HUGEINT")
    columns = (alias(cast(exp.column(name), type_), name) for name, type_ in types.items())
    return exp.select(*columns).from_(exp.Var(this=parquet_source(list(files))), copy=False)


class Aggregator(ABC):
    """Aggregates reports: DuckDB does it inside of the statement that writes them."""

    @abstractmethod
    def aggregate(self, aggregation: Aggregation, snapshot: Snapshot) -> exp.Query:
        """Aggregate the pinned facts of the aggregation's days, tenant and filters.

        Gives SQL for DuckDB: the aggregation's columns, a row per combination of keys, in any order. Called once per
        piece, on the thread that writes the report; it may take long. The SQL runs once, before the next call.
        """

    def count_rows_read(self, aggregation: Aggregation, snapshot: Snapshot) -> int | None:  # noqa: ARG002 - for others
        """Count the most rows that are read if the report is one piece; None: all of its facts."""
        return None

    def without(self) -> Aggregator:
        """The aggregator that reads no kept sums, but the facts alone."""
        return self

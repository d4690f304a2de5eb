"""The first half of a report: what is aggregated, the relation it gives, and who does it.

A report is aggregated (scanned, filtered, joined, grouped), then its rows are written (`engine.report_rows`).
Only the first half may be computed elsewhere, so that the bytes of a report never depend on where it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from reelport.catalog import Dimension, Distinct, Grain, measures
from reelport.engine.mapping import MEASURES, find_sources
from reelport.engine.relations import late_lookups
from reelport.engine.resolved_query import ResolvedQuery, SourceQuery, make_source_query
from reelport.engine.trees import WIDEST_DECIMAL, alias, cast
from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.log.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

_ARROW = "aggregated"


@dataclass(frozen=True, slots=True)
class AggregatedMeasure:
    """A measure as a column of the aggregated relation.

    It is a sum, or counts distinct values. A stock is a sum, too: `engine.grouping` leaves the rows of its day alone.
    `digits` are decimal digits, 0 for a count.
    """

    name: str
    is_distinct_count: bool
    digits: int

    @property
    def type(self) -> str:
        """Its SQL type.

        Sums are decimals, which Parquet holds exactly: DuckDB would write a HUGEINT as a double.
        """
        return "BIGINT" if self.is_distinct_count else f"DECIMAL({WIDEST_DECIMAL}, {self.digits})"


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is aggregated for a report: its columns are the keys to group by, then the measures.

    Dimensions that are looked up by a key (`engine.relations.late_lookups`) are no keys: they wait for the second half.
    """

    resolved: ResolvedQuery
    sources: tuple[SourceQuery, ...]
    keys: tuple[Dimension, ...]
    measures: tuple[AggregatedMeasure, ...]

    @property
    def columns(self) -> dict[str, str]:
        """The SQL type of each column, by name and in order. Times are UTC, without a zone."""
        keys = {key.header: _key_type(key.grain) for key in self.keys}
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


def _key_type(grain: Grain | None) -> str:
    if grain is None:
        return "TEXT"
    return "DATE" if grain >= Grain.DAY else "TIMESTAMP"


@dataclass(frozen=True, slots=True)
class AggregatedRelation:
    """SQL for DuckDB that selects an aggregation's columns, a row per combination of keys.

    The rows may come in any order. `arrow` has the Arrow tables or streams that the SQL names.
    """

    select: exp.Query
    arrow: Mapping[str, pa.Table | pa.RecordBatchReader] = field(default_factory=dict)


def read_parquet(aggregation: Aggregation, files: Sequence[str]) -> AggregatedRelation:
    """Read a relation from Parquet files that have the aggregation's columns and types."""
    return AggregatedRelation(_select_columns(aggregation, exp.Var(this=parquet_source(list(files)))))


def read_arrow(aggregation: Aggregation, rows: pa.Table | pa.RecordBatchReader) -> AggregatedRelation:
    """Read a relation from Arrow rows that have the aggregation's columns and types."""
    return AggregatedRelation(_select_columns(aggregation, exp.to_table(_ARROW)), {_ARROW: rows})


def _select_columns(aggregation: Aggregation, relation: exp.Expr) -> exp.Select:
    """Select the columns as DuckDB itself aggregates them.

    Sums of counts are HUGEINT: rates are computed in whole numbers (`engine.report_rows`).
    """
    types = aggregation.columns | {
        measure.name: "HUGEINT"
        for measure in aggregation.measures
        if not measure.is_distinct_count and not measure.digits
    }
    columns = (alias(cast(exp.column(name), type_), name) for name, type_ in types.items())
    return exp.select(*columns).from_(relation, copy=False)


class Aggregator(ABC):
    """Aggregates reports: DuckDB does it inside of the statement that writes them."""

    @abstractmethod
    def aggregate(self, aggregation: Aggregation, snapshot: Snapshot) -> AggregatedRelation:
        """Aggregate the pinned facts of the aggregation's days, tenant and filters.

        Called once per piece, on the thread that writes the report; it may take long. The relation is read once, before
        the next call.
        """

    def count_rows_read(self, aggregation: Aggregation, snapshot: Snapshot) -> int | None:  # noqa: ARG002 - for others
        """Count the most rows that are read if the report is one piece; None: all of its facts."""
        return None

    def without(self) -> Aggregator:
        """The aggregator that reads no kept sums, but the facts alone."""
        return self

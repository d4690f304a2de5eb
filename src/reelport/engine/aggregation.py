"""The first half of a report: what is aggregated, its SQL over facts, and who runs it.

A report is aggregated (scanned, filtered, joined, grouped), then its rows are written (`engine.report_rows`).
Only the first half may be computed elsewhere, so that the bytes of a report never depend on where it was. Rows are
those of the query's days, of the tenant (row-level security: `tenant_filter`) and of the filters; of a stock, those of
its day (`_is_latest_day`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlglot import exp

from reelport.catalog import Dimension, Distinct, Grain, Stock, measures
from reelport.engine.mapping import (
    CELLS,
    LOOKUPS,
    MEASURES,
    QUALIFYING,
    ColumnCell,
    LookupCell,
    Source,
    TimeCell,
    find_sources,
)
from reelport.engine.relations import LookupCells, Relations, early_lookups, join_lookups, late_lookups, lookup_column
from reelport.engine.resolved_query import ResolvedQuery, SourceQuery, make_source_query
from reelport.engine.tenant_filter import channel_joins, is_own_row, qualifying_channel
from reelport.engine.trees import (
    WIDEST_DECIMAL,
    alias,
    call,
    cast,
    left_join,
    number,
    qualify,
    select,
    subquery,
)
from reelport.errors import InternalError
from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import Kind

_TIMES = ("TIMESTAMP", "DATE")
"""The SQL types of times finer than a day, and of days and months."""


@dataclass(frozen=True, slots=True)
class AggregatedMeasure:
    """A measure as a column: a sum, or a count of distinct values; `digits` are decimal digits.

    A stock is a sum, too: only rows of its day are left (`_is_latest_day`).
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


_STACKED = "facts"
_FEW, _FEW_OF_MANY = 3, 1
"""Up to so many dimensions, rows are summed by ids before their cells are looked up (_FEW_OF_MANY: with many ids).

Summing first halves the time of a report with few groups, and costs up to a third more where nearly every row is a
group of its own: with many dimensions, or by day and video.
"""


class DuckDBAggregator(Aggregator):
    """Aggregates by a subquery, so that the rows of a report go through one statement.

    With `scans`, the subquery reads from scans by their names, and adds their SQL to it.
    """

    def __init__(self, scans: dict[str, str] | None = None) -> None:
        self._scans = scans

    def aggregate(self, aggregation: Aggregation, snapshot: Snapshot) -> exp.Query:
        """Give the subquery. It computes nothing yet."""
        return group_rows(aggregation, Relations.of(snapshot, aggregation.resolved, scans=self._scans))


DUCKDB = DuckDBAggregator()


def group_rows(aggregation: Aggregation, relations: Relations) -> exp.Select:
    """Select the columns of an aggregation that has a source, a row per combination of keys."""
    keys = [exp.column(key.header, _STACKED) for key in aggregation.keys]
    values = (alias(_aggregate(measure), measure.name) for measure in aggregation.measures)
    found = early_lookups(aggregation.resolved)
    sources = aggregation.sources
    first, *others = (select_source_rows(each, relations, summed=_sums_first(each, found)) for each in sources)
    stacked: exp.Query = first
    for other in others:
        stacked = exp.Union(this=stacked, expression=other, distinct=False)
    tree = select(*keys, *values).from_(subquery(stacked, _STACKED), copy=False)
    if keys:
        return tree.group_by(*(key.copy() for key in keys), copy=False)
    # Without keys SQL gives one row even over no facts: leave that row out.
    return tree.having(exp.GT(this=exp.Count(this=exp.Star()), expression=number(0)), copy=False)


def _aggregate(measure: AggregatedMeasure) -> exp.Expr:
    column = exp.column(measure.name, _STACKED)
    if measure.is_distinct_count:
        return exp.Count(this=exp.Distinct(expressions=[column]))
    return exp.Sum(this=column)


def select_source_rows(source_query: SourceQuery, relations: Relations, *, summed: bool) -> exp.Select:
    """Select the source's rows: a column per dimension, then one per measure of the report.

    Columns of dimensions have their headers as names. Dimensions that are looked up late have no column yet. With
    `summed`, rows are summed by ids before their cells are looked up.
    """
    found = early_lookups(source_query.resolved)
    name = source_query.source.name
    tree = select(*_select_cells(source_query), *_select_measures(source_query))
    facts = _select_facts(source_query, relations, summed=summed)
    tree = tree.from_(subquery(facts, name), copy=False)
    return join_lookups(tree, found.values(), name, relations)


def _sums_first(source_query: SourceQuery, found: LookupCells) -> bool:
    """Whether to sum rows before looking up cells: where that is correct, and probably faster."""
    resolved, source = source_query.resolved, source_query.source
    counted = any(isinstance(rule, Distinct) for rule in resolved.rules_over(source))
    many = any(LOOKUPS[cell.lookup].many for cell in found.values())
    return bool(found) and not counted and len(resolved.dimensions) <= (_FEW_OF_MANY if many else _FEW)


def _select_cells(source_query: SourceQuery) -> Iterable[exp.Expr]:
    late = late_lookups(source_query.resolved)
    for dimension in source_query.resolved.dimensions:
        match CELLS[dimension]:
            case LookupCell() if dimension in late:
                continue
            case LookupCell() as found:
                cell = lookup_column(found)
            case ColumnCell(column):
                cell = exp.column(column, source_query.source.name)
            case TimeCell():
                cell = exp.column(dimension.header, source_query.source.name)
        yield alias(cell, dimension.header)


def _select_measures(source_query: SourceQuery) -> Iterable[exp.Expr]:
    for name in source_query.resolved.measures:
        here = MEASURES[name].source is source_query.source
        yield alias(exp.column(name, source_query.source.name) if here else exp.null(), name)


def _select_facts(source_query: SourceQuery, relations: Relations, *, summed: bool) -> exp.Select:
    resolved, table = source_query.resolved, source_query.source.table
    columns = _needed_columns(source_query)
    here = [name for name in resolved.measures if MEASURES[name].source is source_query.source]
    values = {name: qualify(MEASURES[name].value, table) for name in here}
    selected = [alias(tree, name) for name, tree in columns.items()]
    selected += [alias(exp.Sum(this=tree) if summed else tree, name) for name, tree in values.items()]
    tree = relations.select_rows(select(*selected), source_query, _list_conditions(source_query, relations))
    for channels, on in channel_joins(source_query):
        tree = left_join(tree, channels, on)
    return tree.group_by(*(tree.copy() for tree in columns.values()), copy=False) if summed else tree


def _needed_columns(source_query: SourceQuery) -> dict[str, exp.Expr]:
    columns: dict[str, exp.Expr] = {}
    for dimension in source_query.resolved.dimensions:
        match CELLS[dimension]:
            case LookupCell(key):
                columns[key] = _key_column(source_query, key)
            case ColumnCell(column):
                columns[column] = _text_column(source_query.source, column)
            case TimeCell(grain):
                columns[dimension.header] = _time_bucket(source_query.source, source_query.resolved.bucket(grain))
    return columns


def _list_conditions(source_query: SourceQuery, relations: Relations) -> Iterable[exp.Expr]:
    resolved, source = source_query.resolved, source_query.source
    yield from _is_in_range(source, resolved.start, resolved.end)
    if source.where:
        yield qualify(source.where, source.table)
    yield is_own_row(source_query)
    for dimension, texts in resolved.conditions:
        yield exp.or_(*(_has_cell(source_query, dimension, text, relations) for text in texts), wrap=True)
    if any(isinstance(rule, Stock) for rule in resolved.rules_over(source)):
        yield from _is_latest_day(source_query, relations)


def _is_in_range(source: Source, start: date, end: date) -> Iterable[exp.Expr]:
    time = exp.column(source.time, source.table)
    if source.kind(source.time) is Kind.DAY:
        yield exp.GTE(this=time, expression=_day(start))
        yield exp.LTE(this=time.copy(), expression=_day(end))
    else:
        yield exp.GTE(this=time, expression=_midnight(start))
        yield exp.LT(this=time.copy(), expression=_midnight(end + timedelta(days=1)))


def _day(day: date) -> exp.Expr:
    return cast(exp.Literal.string(day.isoformat()), "DATE")


def _midnight(day: date) -> exp.Expr:
    return cast(exp.Literal.string(f"{day.isoformat()} 00:00:00+00:00"), "TIMESTAMPTZ")


def _has_cell(source_query: SourceQuery, dimension: Dimension, text: str, relations: Relations) -> exp.Expr:
    match CELLS[dimension]:
        case ColumnCell(column):
            return _equals(_text_column(source_query.source, column), text)
        case LookupCell(key, lookup, column):
            by = _key_column(source_query, key)
            ids = exp.select("id").from_(relations.lookup(lookup, lookup, [column]), copy=False)
            if text:
                return exp.In(this=by, query=subquery(ids.where(_equals(exp.column(column), text), copy=False)))
            known = ids.where(exp.column(column).is_(exp.null()).not_(), copy=False)
            return exp.or_(by.is_(exp.null()), exp.In(this=by.copy(), query=subquery(known)).not_())
        case TimeCell():
            raise InternalError(f"{dimension} narrows by time, which only the range does")


def _equals(cell: exp.Expr, text: str) -> exp.Expr:
    if not text:
        return cell.is_(exp.null())
    try:
        text.encode()
    except UnicodeEncodeError:
        return exp.false()  # half of a surrogate pair: no stored text holds one
    return exp.EQ(this=cell, expression=exp.Literal.string(text))


def _is_latest_day(source_query: SourceQuery, relations: Relations) -> Iterable[exp.Expr]:
    """Whether the day is the last of its time bucket with a row of the tenant's in the source.

    A filter doesn't move that day: the reports of all values of a filter add up to the whole.
    """
    resolved, source = source_query.resolved, source_query.source
    grains = (resolved.bucket(dimension.grain) for dimension in resolved.dimensions if dimension.grain)
    finest = min(grains, default=None)
    if finest is not None and finest <= Grain.DAY:
        return
    day = exp.column(source.time, source.table)
    rows = relations.facts(source.table, source.table, role=source_query.only_role)
    days = exp.select(exp.Max(this=day)).from_(rows, copy=False)
    for channels, on in channel_joins(source_query):
        days = left_join(days, channels, on)
    days = days.where(*_is_in_range(source, resolved.start, resolved.end), is_own_row(source_query), copy=False)
    if source.where:
        days = days.where(qualify(source.where, source.table), copy=False)
    if finest is not None:
        days = days.group_by(_time_bucket(source, finest), copy=False)
    yield exp.In(this=day.copy(), query=subquery(days))


def _source_column(source: Source, name: str) -> exp.Column:
    own = source.column(name)
    if own is None:
        raise InternalError(f"{source.name} facts have no {name}")
    return exp.column(own, source.table)


def _key_column(source_query: SourceQuery, key: str) -> exp.Expr:
    """The column that holds a lookup's id; for QUALIFYING the tenant's qualifying channel."""
    return qualifying_channel(source_query) if key == QUALIFYING else _source_column(source_query.source, key)


def _text_column(source: Source, name: str) -> exp.Expr:
    """The column as text: cells are grouped, filtered and sorted as text."""
    column = _source_column(source, name)
    return column if source.kind(column.name) is Kind.TEXT else cast(column, "TEXT")


def _time_bucket(source: Source, grain: Grain) -> exp.Expr:
    time: exp.Expr = exp.column(source.time, source.table)
    if source.kind(source.time) is Kind.MOMENT:
        # Facts are UTC: dropping the zone by epoch microseconds is six times as fast as a conversion by the calendar.
        time = call("MAKE_TIMESTAMP", call("EPOCH_US", time))
    match grain:
        case Grain.DAY:
            return cast(time, "DATE")
        case Grain.WEEK:
            return cast(call("DATE_TRUNC", exp.Literal.string("week"), cast(time, "DATE")), "DATE")
        case Grain.MONTH:
            # Subtracting the days that have passed in the month is a quarter faster than DATE_TRUNC.
            day = cast(time, "DATE")
            passed = exp.Sub(this=cast(exp.Day(this=day.copy()), "INTEGER"), expression=number(1))
            return exp.Sub(this=day, expression=exp.Paren(this=passed))
        case _:
            return call("DATE_TRUNC", exp.Literal.string(grain.name.lower()), time)

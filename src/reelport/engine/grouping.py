"""The SQL of an aggregation over facts, and DuckDB as the aggregator that runs it.

It filters the rows of each source, stacks and groups them. Rows are those of the query's days, of the tenant and of the
filters; of a stock, those of its day (`_is_latest_day`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from sqlglot import exp

from reelport.catalog import Dimension, Distinct, Grain, Stock
from reelport.engine.aggregation import AggregatedMeasure, Aggregation, Aggregator
from reelport.engine.mapping import CELLS, LOOKUPS, MEASURES, QUALIFYING, ColumnCell, LookupCell, Source, TimeCell
from reelport.engine.relations import LookupCells, Relations, early_lookups, join_lookups, late_lookups, lookup_column
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.tenant_filter import channel_joins, is_own_row, qualifying_channel
from reelport.engine.trees import alias, call, cast, left_join, number, qualify, select, subquery
from reelport.errors import InternalError
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import Kind

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

"""The WHERE conditions of a source: the query's days, the tenant's rows, and the filters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from sqlglot import exp

from reelport.catalog import Filter, Grain, Stock
from reelport.engine.columns import key_column, text_column, time_bucket
from reelport.engine.mapping import CELLS, ColumnCell, LookupCell, Source, TimeCell
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.tenant_filter import channel_joins, is_own_row
from reelport.engine.trees import cast, left_join, qualify, subquery
from reelport.errors import InternalError
from reelport.facts.tables import Kind


def conditions(source_query: SourceQuery, relations: Relations) -> Iterable[exp.Expr]:
    """Yield the conditions that a row of the source must meet."""
    resolved, source = source_query.resolved, source_query.source
    yield from _is_in_range(source, resolved.start, resolved.end)
    if source.where:
        yield qualify(source.where, source.table)
    yield is_own_row(source_query)
    for row, value in resolved.filters:
        yield _matches_filter(source_query, row, value, relations)
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


def _matches_filter(source_query: SourceQuery, row: Filter, value: str, relations: Relations) -> exp.Expr:
    """Whether the filter's cell equals the value; an empty value equals an empty cell."""
    text = value.lower() if row.choices else value
    match CELLS[row.dimension]:
        case ColumnCell(column):
            return _equals(text_column(source_query.source, column), text)
        case LookupCell(key, lookup, column):
            by = key_column(source_query, key)
            ids = exp.select("id").from_(relations.lookup(lookup, lookup, [column]), copy=False)
            if text:
                return exp.In(this=by, query=subquery(ids.where(_equals(exp.column(column), text), copy=False)))
            known = ids.where(exp.column(column).is_(exp.null()).not_(), copy=False)
            return exp.or_(by.is_(exp.null()), exp.In(this=by.copy(), query=subquery(known)).not_())
        case TimeCell():
            raise InternalError(f"{row} narrows by time, which only the range does")


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

    Other tenants' rows don't move that day, nor does a filter: the reports of all values of a filter add up to the
    whole.
    """
    resolved, source = source_query.resolved, source_query.source
    finest = min((dimension.grain for dimension in resolved.dimensions if dimension.grain), default=None)
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
        days = days.group_by(time_bucket(source, finest), copy=False)
    yield exp.In(this=day.copy(), query=subquery(days))

"""Which rows of a source count: those of the asked days, of the reader, kept by the filters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from sqlglot import exp

from reelport.catalog import Filter, Grain, Stock
from reelport.engine.columns import key_of, moment_of, text_of
from reelport.engine.mapping import CELLS, Found, Moment, Own, Source
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.tenant_filter import is_own_row, joins
from reelport.engine.trees import subquery, typed, within
from reelport.errors import InternalError
from reelport.facts.tables import Kind


def conditions(part: SourceQuery, relations: Relations) -> Iterable[exp.Expr]:
    """What a row of the source must meet to count."""
    asked, source = part.asked, part.source
    yield from _period(source, asked.start, asked.end)
    if source.where:
        yield within(source.where, source.table)
    yield is_own_row(part)
    for row, value in asked.filters:
        yield _kept(part, row, value, relations)
    if any(isinstance(rule, Stock) for rule in asked.rules_over(source)):
        yield from _latest(part, relations)


def _period(source: Source, start: date, end: date) -> Iterable[exp.Expr]:
    time = exp.column(source.time, source.table)
    if source.kind(source.time) is Kind.DAY:
        yield exp.GTE(this=time, expression=_day(start))
        yield exp.LTE(this=time.copy(), expression=_day(end))
    else:
        yield exp.GTE(this=time, expression=_midnight(start))
        yield exp.LT(this=time.copy(), expression=_midnight(end + timedelta(days=1)))


def _day(day: date) -> exp.Expr:
    return typed(exp.Literal.string(day.isoformat()), "DATE")


def _midnight(day: date) -> exp.Expr:
    return typed(exp.Literal.string(f"{day.isoformat()} 00:00:00+00:00"), "TIMESTAMPTZ")


def _kept(part: SourceQuery, row: Filter, value: str, relations: Relations) -> exp.Expr:
    """Whether the filter's cell is the value; with the empty text, whether the cell is empty."""
    text = value.lower() if row.choices else value
    match CELLS[row.dimension]:
        case Own(column):
            return _is(text_of(part.source, column), text)
        case Found(key, lookup, column):
            by = key_of(part, key)
            ids = exp.select("id").from_(relations.lookup(lookup, lookup), copy=False)
            if text:
                return exp.In(this=by, query=subquery(ids.where(_is(exp.column(column), text), copy=False)))
            known = ids.where(exp.column(column).is_(exp.null()).not_(), copy=False)
            return exp.or_(by.is_(exp.null()), exp.In(this=by.copy(), query=subquery(known)).not_())
        case Moment():
            raise InternalError(f"{row} narrows by time, which is the range's part")


def _is(cell: exp.Expr, text: str) -> exp.Expr:
    if not text:
        return cell.is_(exp.null())
    try:
        text.encode()
    except UnicodeEncodeError:
        return exp.false()  # half of a surrogate pair: no stored text holds one
    return exp.EQ(this=cell, expression=exp.Literal.string(text))


def _latest(part: SourceQuery, relations: Relations) -> Iterable[exp.Expr]:
    """Whether the day is the last of its time bucket on which the reader has any row of the source.

    Another partner's rows don't move it, nor does a filter: the reports of all values of a filter add up to the whole.
    """
    asked, source = part.asked, part.source
    finest = min((dimension.grain for dimension in asked.dimensions if dimension.grain), default=None)
    if finest is not None and finest <= Grain.DAY:
        return
    day = exp.column(source.time, source.table)
    rows = relations.facts(source.table, source.table, owned=part.owned)
    days = exp.select(exp.Max(this=day)).from_(rows, copy=False)
    for channels, on in joins(part):
        days = days.join(channels, on=on, join_type="left", copy=False)
    days = days.where(*_period(source, asked.start, asked.end), is_own_row(part), copy=False)
    if source.where:
        days = days.where(within(source.where, source.table), copy=False)
    if finest is not None:
        days = days.group_by(moment_of(source, finest), copy=False)
    yield exp.In(this=day.copy(), query=subquery(days))

"""SQL expressions over the columns of one source: ids, texts, times and measures."""

from __future__ import annotations

from sqlglot import exp

from reelport.catalog import Grain
from reelport.engine.mapping import MEASURES, QUALIFYING, Source
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.tenant_filter import qualifying_channel
from reelport.engine.trees import call, cast, number, qualify
from reelport.errors import InternalError
from reelport.facts.tables import Kind


def source_column(source: Source, name: str) -> exp.Column:
    """The source's column for a usual name; InternalError when it has none."""
    own = source.column(name)
    if own is None:
        raise InternalError(f"{source.name} facts have no {name}")
    return exp.column(own, source.table)


def key_column(source_query: SourceQuery, key: str) -> exp.Expr:
    """The column that holds a lookup's id; for QUALIFYING the tenant's qualifying channel."""
    return qualifying_channel(source_query) if key == QUALIFYING else source_column(source_query.source, key)


def text_column(source: Source, name: str) -> exp.Expr:
    """The column as text: cells are grouped, filtered and sorted as text."""
    column = source_column(source, name)
    return column if source.kind(column.name) is Kind.TEXT else cast(column, "TEXT")


def measure_value(measure: str, table: str) -> exp.Expr:
    """The SQL of a measure's value in one row of the table."""
    return qualify(MEASURES[measure].value, table)


def time_bucket(source: Source, grain: Grain) -> exp.Expr:
    """The source's time truncated to the grain: a DATE, or a UTC TIMESTAMP without a zone."""
    time: exp.Expr = exp.column(source.time, source.table)
    if source.kind(source.time) is Kind.MOMENT:
        # Facts are UTC: dropping the zone by epoch microseconds is six times as fast as a conversion by the calendar.
        time = call("MAKE_TIMESTAMP", call("EPOCH_US", time))
    match grain:
        case Grain.DAY:
            return cast(time, "DATE")
        case Grain.MONTH:
            # Subtracting the days that have passed in the month is a quarter faster than DATE_TRUNC.
            day = cast(time, "DATE")
            passed = exp.Sub(this=cast(exp.Day(this=day.copy()), "INTEGER"), expression=number(1))
            return exp.Sub(this=day, expression=exp.Paren(this=passed))
        case _:
            return call("DATE_TRUNC", exp.Literal.string(grain.name.lower()), time)

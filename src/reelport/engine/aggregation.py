"""The first half of a report: what is aggregated, its SQL over facts, and who runs it.

A report is aggregated (scanned, filtered, joined, grouped), then its rows are written (`engine.report_rows`).
Only the first half may be computed elsewhere, so that the bytes of a report never depend on where it was. Rows are
those of the query's days, of the tenant (row-level security: `tenant_filter`) and of the filters; of a stock, those of
its day (`_is_latest_day`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from reelport.catalog import Dimension, Distinct, Grain, Stock
from reelport.engine.mapping import CELLS, LOOKUPS, MEASURES, QUALIFYING, ColumnCell, LookupCell, Source, TimeCell
from reelport.engine.relations import Relations, join_lookups, lookup_column
from reelport.engine.resolved_query import ResolvedQuery, SourceQuery
from reelport.engine.tenant_filter import is_own_row, join_channels, qualifying_channel
from reelport.errors import InternalError
from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import Kind
from reelport.sql_quoting import quote_text


def read_parquet(resolved: ResolvedQuery, files: Sequence[str]) -> str:
    """Select a query's aggregated columns from Parquet files that have these columns and types."""
    # As DuckDB itself aggregates them: rates are computed in whole numbers, so sums of counts are HUGEINT.
    found = ((name, MEASURES[name]) for name in resolved.measures)
    sums = [name for name, measure in found if not measure.is_distinct_count and not measure.digits]
    return select_typed(resolved.column_types | dict.fromkeys(sums, "HUGEINT"), parquet_source(list(files)))


def select_typed(types: Mapping[str, str], relation: str) -> str:
    """Select columns by name from a relation, each cast to its type."""
    columns = ", ".join(f"CAST({name} AS {type_}) AS {name}" for name, type_ in types.items())
    return f"SELECT {columns} FROM {relation}"  # noqa: S608 - names of the catalog's


class Aggregator(ABC):
    """Aggregates reports: DuckDB does it inside of the statement that writes them."""

    @abstractmethod
    def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
        """Aggregate the pinned facts of the query's days, tenant and filters.

        The query has a source. Gives SQL for DuckDB: the query's `column_types`, a row per combination of keys, in any
        order. Called once per piece, on the thread that writes the report; it may take long. The SQL runs once, before
        the next call.
        """

    def count_rows_read(self, resolved: ResolvedQuery, snapshot: Snapshot) -> int | None:  # noqa: ARG002 - for others
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
    """Aggregates facts by a subquery, so that the rows of a report go through one statement."""

    def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
        """Give the subquery. It computes nothing yet."""
        return group_rows(resolved, Relations(snapshot))


DUCKDB = DuckDBAggregator()


def group_rows(resolved: ResolvedQuery, relations: Relations) -> str:
    """Select the aggregated columns of a query with a source, a row per combination of keys."""
    keys = [f"{_STACKED}.{key.header}" for key in resolved.keys]
    values = (
        f"{'COUNT(DISTINCT ' if MEASURES[name].is_distinct_count else 'SUM('}{_STACKED}.{name}) AS {name}"
        for name in resolved.measures
    )
    rows = (select_source_rows(each, relations, summed=_sums_first(each)) for each in resolved.sources)
    # Without keys SQL gives one row even over no facts: leave that row out.
    ending = f"GROUP BY {', '.join(keys)}" if keys else "HAVING COUNT(*) > 0"
    return f"SELECT {', '.join((*keys, *values))} FROM ({' UNION ALL '.join(rows)}) AS {_STACKED} {ending}"  # noqa: S608 - names of the catalog's, and SQL of ours


def select_source_rows(source_query: SourceQuery, relations: Relations, *, summed: bool) -> str:
    """Select the source's rows: a column per dimension, then one per measure of the report.

    Columns of dimensions have their headers as names. Dimensions that are looked up late have no column yet. With
    `summed`, rows are summed by ids before their cells are looked up.
    """
    name = source_query.source.name
    columns = ", ".join((*_select_cells(source_query), *_select_measures(source_query)))
    joins = join_lookups(source_query.resolved.early_lookups.values(), name, relations)
    return f"SELECT {columns} FROM ({_select_facts(source_query, relations, summed=summed)}) AS {name}{joins}"  # noqa: S608 - as above


def _sums_first(source_query: SourceQuery) -> bool:
    """Whether to sum rows before looking up cells: where that is correct, and probably faster."""
    resolved, source = source_query.resolved, source_query.source
    found = resolved.early_lookups
    counted = any(isinstance(rule, Distinct) for rule in resolved.rules_over(source))
    many = any(LOOKUPS[cell.lookup].many for cell in found.values())
    return bool(found) and not counted and len(resolved.dimensions) <= (_FEW_OF_MANY if many else _FEW)


def _select_cells(source_query: SourceQuery) -> Iterator[str]:
    late, name = source_query.resolved.late_lookups, source_query.source.name
    for dimension in source_query.resolved.dimensions:
        match CELLS[dimension]:
            case LookupCell() as found:
                if dimension not in late:
                    yield f"{lookup_column(found)} AS {dimension.header}"
            case ColumnCell(column):
                yield f"{name}.{column} AS {dimension.header}"
            case TimeCell():
                yield f"{name}.{dimension.header} AS {dimension.header}"


def _select_measures(source_query: SourceQuery) -> Iterator[str]:
    for name in source_query.resolved.measures:
        here = MEASURES[name].source is source_query.source
        yield f"{source_query.source.name}.{name} AS {name}" if here else f"NULL AS {name}"


def _select_facts(source_query: SourceQuery, relations: Relations, *, summed: bool) -> str:
    columns = _needed_columns(source_query)
    own = (name for name in source_query.resolved.measures if MEASURES[name].source is source_query.source)
    values = {name: f"SUM({MEASURES[name].value})" if summed else MEASURES[name].value for name in own}
    selected = ", ".join(f"{sql} AS {name}" for name, sql in (*columns.items(), *values.items()))
    rows = relations.from_rows(source_query, _list_conditions(source_query, relations))
    groups = f" GROUP BY {', '.join(columns.values())}" if summed else ""
    return f"SELECT {selected} {rows}{groups}"


def _needed_columns(source_query: SourceQuery) -> dict[str, str]:
    columns: dict[str, str] = {}
    for dimension in source_query.resolved.dimensions:
        match CELLS[dimension]:
            case LookupCell(key):
                columns[key] = _key_column(source_query, key)
            case ColumnCell(column):
                columns[column] = _text_column(source_query.source, column)
            case TimeCell(grain):
                columns[dimension.header] = _time_bucket(source_query.source, source_query.resolved.bucket(grain))
    return columns


def _list_conditions(source_query: SourceQuery, relations: Relations) -> Iterator[str]:
    resolved, source = source_query.resolved, source_query.source
    yield from _list_own_conditions(source_query)
    for dimension, texts in resolved.conditions:
        yield f"({' OR '.join(_has_cell(source_query, dimension, text, relations) for text in texts)})"
    if any(isinstance(rule, Stock) for rule in resolved.rules_over(source)):
        yield from _is_latest_day(source_query, relations)


def _list_own_conditions(source_query: SourceQuery) -> Iterator[str]:
    """List the conditions of all rows of the tenant's in the source, whatever the filters."""
    resolved, source = source_query.resolved, source_query.source
    time, after = f"{source.table}.{source.time}", resolved.end + timedelta(days=1)
    if source.kind(source.time) is Kind.DAY:
        yield f"{time} >= DATE '{resolved.start}' AND {time} < DATE '{after}'"
    else:
        yield f"{time} >= TIMESTAMPTZ '{resolved.start} 00:00:00+00:00'"
        yield f"{time} < TIMESTAMPTZ '{after} 00:00:00+00:00'"
    if source.where:
        yield source.where
    yield is_own_row(source_query)


def _has_cell(source_query: SourceQuery, dimension: Dimension, text: str, relations: Relations) -> str:
    match CELLS[dimension]:
        case ColumnCell(column):
            return _equals(_text_column(source_query.source, column), text)
        case LookupCell(key, lookup, column):
            by = _key_column(source_query, key)
            ids = f"SELECT id FROM {relations.lookup(lookup, lookup, [column])} WHERE"  # noqa: S608 - names of ours
            if text:
                return f"{by} IN ({ids} {_equals(column, text)})"
            return f"{by} IS NULL OR {by} NOT IN ({ids} {column} IS NOT NULL)"
        case TimeCell():
            raise InternalError(f"{dimension} narrows by time, which only the range does")


def _equals(cell: str, text: str) -> str:
    if not text:
        return f"{cell} IS NULL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "false"  # half of a surrogate pair: no stored text holds one
    return f"{cell} = {quote_text(text)}"


def _is_latest_day(source_query: SourceQuery, relations: Relations) -> Iterator[str]:
    """Whether the day is the last of its time bucket with a row of the tenant's in the source.

    A filter doesn't move that day: the reports of all values of a filter add up to the whole.
    """
    resolved, source = source_query.resolved, source_query.source
    grains = (resolved.bucket(dimension.grain) for dimension in resolved.dimensions if dimension.grain)
    finest = min(grains, default=None)
    if finest is not None and finest <= Grain.DAY:
        return
    day = f"{source.table}.{source.time}"
    where = " AND ".join(_list_own_conditions(source_query))
    groups = "" if finest is None else f" GROUP BY {_time_bucket(source, finest)}"
    rows = f"{relations.facts(source_query)}{join_channels(source_query)}"
    yield f"{day} IN (SELECT MAX({day}) FROM {rows} WHERE {where}{groups})"  # noqa: S608 - as above


def _source_column(source: Source, name: str) -> str:
    own = source.column(name)
    if own is None:
        raise InternalError(f"{source.name} facts have no {name}")
    return f"{source.table}.{own}"


def _key_column(source_query: SourceQuery, key: str) -> str:
    """The column that holds a lookup's id; for QUALIFYING the tenant's qualifying channel."""
    return qualifying_channel(source_query) if key == QUALIFYING else _source_column(source_query.source, key)


def _text_column(source: Source, name: str) -> str:
    """The column as text: cells are grouped, filtered and sorted as text."""
    column = _source_column(source, name)
    return column if source.kind(source.column(name) or "") is Kind.TEXT else f"CAST({column} AS TEXT)"


def _time_bucket(source: Source, grain: Grain) -> str:
    time = f"{source.table}.{source.time}"
    if source.kind(source.time) is Kind.MOMENT:
        # Facts are UTC: dropping the zone by epoch microseconds is six times as fast as a conversion by the calendar.
        time = f"MAKE_TIMESTAMP(EPOCH_US({time}))"
    day = f"CAST({time} AS DATE)"
    match grain:
        case Grain.DAY:
            return day
        case Grain.WEEK:
            return f"CAST(DATE_TRUNC('week', {day}) AS DATE)"
        case Grain.MONTH:
            # Subtracting the days that have passed in the month is a quarter faster than DATE_TRUNC.
            return f"{day} - (CAST(DAY({day}) AS INTEGER) - 1)"
        case _:
            return f"DATE_TRUNC('{grain.name.lower()}', {time})"

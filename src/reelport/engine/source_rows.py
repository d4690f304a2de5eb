"""The rows of one source for a report.

They are filtered, have the early lookups joined, and have one column per cell and measure.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from reelport.catalog import Distinct
from reelport.engine.columns import key_column, measure_value, text_column, time_bucket
from reelport.engine.conditions import conditions
from reelport.engine.lookups import LookupCells, early_lookups, join_lookups, late_lookups, lookup_column
from reelport.engine.mapping import CELLS, LOOKUPS, MEASURES, ColumnCell, LookupCell, TimeCell
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.tenant_filter import channel_joins
from reelport.engine.trees import alias, left_join, select, subquery

_FEW, _FEW_OF_MANY = 3, 1
"""Up to so many dimensions, rows are summed by ids before their cells are looked up (_FEW_OF_MANY: with many ids).

Summing first halves the time of a report with few groups, and costs up to a third more where nearly every row is a
group of its own: with many dimensions, or by day and video.
"""


def select_source_rows(source_query: SourceQuery, relations: Relations) -> exp.Select:
    """Select the source's rows: a column per dimension, then one per measure of the report.

    Columns of dimensions have their headers as names. Dimensions that are looked up late have no column yet.
    """
    found = early_lookups(source_query.resolved)
    name = source_query.source.name
    tree = select(*_select_cells(source_query), *_select_measures(source_query))
    facts = _select_facts(source_query, relations, summed=_sums_first(source_query, found))
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
    """Select the needed columns of the rows that count; with `summed`, summed by ids."""
    resolved, table = source_query.resolved, source_query.source.table
    columns = _needed_columns(source_query)
    values = {
        name: measure_value(name, table) for name in resolved.measures if MEASURES[name].source is source_query.source
    }
    selected = [alias(tree, name) for name, tree in columns.items()]
    selected += [alias(exp.Sum(this=tree) if summed else tree, name) for name, tree in values.items()]
    tree = select(*selected).from_(relations.rows(source_query), copy=False)
    for channels, on in channel_joins(source_query):
        tree = left_join(tree, channels, on)
    tree = tree.where(*conditions(source_query, relations), copy=False)
    return tree.group_by(*(tree.copy() for tree in columns.values()), copy=False) if summed else tree


def _needed_columns(source_query: SourceQuery) -> dict[str, exp.Expr]:
    """The columns that cells are taken from or looked up by, by name."""
    columns: dict[str, exp.Expr] = {}
    for dimension in source_query.resolved.dimensions:
        match CELLS[dimension]:
            case LookupCell(key):
                columns[key] = key_column(source_query, key)
            case ColumnCell(column):
                columns[column] = text_column(source_query.source, column)
            case TimeCell(grain):
                columns[dimension.header] = time_bucket(source_query.source, grain)
    return columns

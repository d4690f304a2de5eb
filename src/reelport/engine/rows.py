"""The rows that one source gives to a report: its days, its reader's, filtered, with every cell they are grouped by."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from reelport.catalog import Distinct
from reelport.engine.columns import key_of, moment_of, text_of, value_of
from reelport.engine.conditions import conditions
from reelport.engine.lookups import Looked, cell_of, found_early, found_late, joined
from reelport.engine.mapping import CELLS, LOOKUPS, MEASURES, Found, Moment, Own
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.tenant_filter import joins
from reelport.engine.trees import named, subquery

_FEW, _FEW_OF_MANY = 3, 1
"""Up to so many dimensions, rows are summed by the ids of their cells before those are looked up.

It halves the time of a report whose groups are few, and costs up to a third where nearly
every row is a group of its own: with many dimensions, or by day and video.
"""


def rows(part: SourceQuery, relations: Relations) -> exp.Select:
    """The part's rows: a column a dimension by its header, then a column a measure of the whole report.

    Dimensions that are looked up late have no column yet.
    """
    found = found_early(part.asked)
    name = part.source.name
    tree = exp.select(*_cells(part), *_measures(part))
    tree = tree.from_(subquery(_facts(part, relations, summed=_pays(part, found)), name), copy=False)
    return joined(tree, found.values(), name, relations)


def _pays(part: SourceQuery, found: Looked) -> bool:
    """Whether rows are summed before cells are looked up: where that is right, and quicker."""
    counted = any(isinstance(rule, Distinct) for rule in part.asked.rules_over(part.source))
    most = _FEW_OF_MANY if any(LOOKUPS[cell.lookup].many for cell in found.values()) else _FEW
    return bool(found) and not counted and len(part.asked.dimensions) <= most


def _cells(part: SourceQuery) -> Iterable[exp.Expr]:
    late = found_late(part.asked)
    for dimension in part.asked.dimensions:
        match CELLS[dimension]:
            case Found() if dimension in late:
                continue
            case Found() as found:
                cell = cell_of(found)
            case Own(column):
                cell = exp.column(column, part.source.name)
            case Moment():
                cell = exp.column(dimension.header, part.source.name)
        yield named(cell, dimension.header)


def _measures(part: SourceQuery) -> Iterable[exp.Expr]:
    for name in part.asked.measures:
        here = MEASURES[name].source is part.source
        yield named(exp.column(name, part.source.name) if here else exp.null(), name)


def _facts(part: SourceQuery, relations: Relations, *, summed: bool) -> exp.Select:
    """The needed columns of the rows that count, as they are or summed by ids."""
    asked, table = part.asked, part.source.table
    columns = _columns(part)
    values = {name: value_of(name, table) for name in asked.measures if MEASURES[name].source is part.source}
    selected = [named(tree, name) for name, tree in columns.items()]
    selected += [named(exp.Sum(this=tree) if summed else tree, name) for name, tree in values.items()]
    tree = exp.select(*selected).from_(relations.facts(table, table, owned=part.owned), copy=False)
    for channels, on in joins(part):
        tree = tree.join(channels, on=on, join_type="left", copy=False)
    tree = tree.where(*conditions(part, relations), copy=False)
    return tree.group_by(*(tree.copy() for tree in columns.values()), copy=False) if summed else tree


def _columns(part: SourceQuery) -> dict[str, exp.Expr]:
    """What the cells are taken from or looked up by."""
    columns: dict[str, exp.Expr] = {}
    for dimension in part.asked.dimensions:
        match CELLS[dimension]:
            case Found(key):
                columns[key] = key_of(part, key)
            case Own(column):
                columns[column] = text_of(part.source, column)
            case Moment(grain):
                columns[dimension.header] = moment_of(part.source, grain)
    return columns

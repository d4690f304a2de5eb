"""Cells that are looked up by an id: which ones before rows are grouped, and which only in what the groups came to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlglot import exp

from reelport.catalog import Dimension
from reelport.engine.mapping import CELLS, LOOKUPS, ColumnCell, LookupCell
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import ResolvedQuery

LookupCells = Mapping[Dimension, LookupCell]


def late_lookups(resolved: ResolvedQuery) -> LookupCells:
    """The cells whose id is itself a cell of the report: one value for each of its rows, so no part of the group.

    A title that is looked up once a row of the report, not once a row of facts, need be neither hashed nor compared.
    """
    ids = {
        cell.column for cell in (CELLS[dimension] for dimension in resolved.dimensions) if isinstance(cell, ColumnCell)
    }
    found = _all_lookups(resolved).items()
    return {dimension: cell for dimension, cell in found if cell.key in ids and LOOKUPS[cell.lookup].unique}


def early_lookups(resolved: ResolvedQuery) -> LookupCells:
    """The cells that rows are grouped by, though their facts hold no more than an id."""
    late = late_lookups(resolved)
    return {dimension: cell for dimension, cell in _all_lookups(resolved).items() if dimension not in late}


def lookup_column(found: LookupCell) -> exp.Column:
    """The cell, once its lookup was joined."""
    return exp.column(found.column, _alias(found))


def join_lookups(tree: exp.Select, cells: Iterable[LookupCell], name: str, relations: Relations) -> exp.Select:
    """The tree with the lookups of these cells, whose ids are columns of its relation `name`; no row is lost by it."""
    for lookup, cell in {_alias(cell): cell for cell in cells}.items():
        by = exp.EQ(this=exp.column("id", lookup), expression=exp.column(cell.key, name))
        tree = tree.join(relations.lookup(cell.lookup, lookup), on=by, join_type="left", copy=False)
    return tree


def _all_lookups(resolved: ResolvedQuery) -> dict[Dimension, LookupCell]:
    cells = ((dimension, CELLS[dimension]) for dimension in resolved.dimensions)
    return {dimension: cell for dimension, cell in cells if isinstance(cell, LookupCell)}


def _alias(cell: LookupCell) -> str:
    return f"{cell.lookup}_by_{cell.key}"

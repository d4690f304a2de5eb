"""Cells that are looked up by an id: early, before rows are grouped, or late, after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlglot import exp

from reelport.catalog import Dimension
from reelport.engine.mapping import CELLS, LOOKUPS, ColumnCell, LookupCell
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import ResolvedQuery
from reelport.engine.trees import left_join

LookupCells = Mapping[Dimension, LookupCell]


def late_lookups(resolved: ResolvedQuery) -> LookupCells:
    """The lookups whose id is itself a dimension of the report.

    Each id has one value, so they need no grouping. A title that is looked up once per row of the report, not per
    row of facts, is neither hashed nor compared.
    """
    ids = {
        cell.column for cell in (CELLS[dimension] for dimension in resolved.dimensions) if isinstance(cell, ColumnCell)
    }
    found = _all_lookups(resolved).items()
    return {dimension: cell for dimension, cell in found if cell.key in ids and LOOKUPS[cell.lookup].unique}


def early_lookups(resolved: ResolvedQuery) -> LookupCells:
    """The lookups to join before grouping: rows are grouped by what they find."""
    late = late_lookups(resolved)
    return {dimension: cell for dimension, cell in _all_lookups(resolved).items() if dimension not in late}


def lookup_column(found: LookupCell) -> exp.Column:
    """The column of a lookup that was joined by `join_lookups`."""
    return exp.column(found.column, _alias(found))


def join_lookups(tree: exp.Select, cells: Iterable[LookupCell], name: str, relations: Relations) -> exp.Select:
    """Left-join the lookups of these cells by ids: columns of the tree's relation `name`."""
    columns: dict[str, list[LookupCell]] = {}
    for cell in cells:
        columns.setdefault(_alias(cell), []).append(cell)
    for lookup, found in columns.items():
        by = exp.EQ(this=exp.column("id", lookup), expression=exp.column(found[0].key, name))
        relation = relations.lookup(found[0].lookup, lookup, [cell.column for cell in found])
        tree = left_join(tree, relation, by)
    return tree


def _all_lookups(resolved: ResolvedQuery) -> dict[Dimension, LookupCell]:
    cells = ((dimension, CELLS[dimension]) for dimension in resolved.dimensions)
    return {dimension: cell for dimension, cell in cells if isinstance(cell, LookupCell)}


def _alias(cell: LookupCell) -> str:
    return f"{cell.lookup}_by_{cell.key}"

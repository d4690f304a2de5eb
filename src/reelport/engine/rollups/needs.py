"""What the part of a report over one source needs of a rollup, or why none can serve it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reelport.catalog import Dimension, Distinct, Grain, Stock, measures
from reelport.engine.mapping import CELLS, MEASURES, QUALIFYING, TimeCell
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.rollups.shape import is_summable, list_columns, tenant_columns
from reelport.facts.rollups import Rollup
from reelport.facts.tables import TABLES
from reelport.wording import format_list


@dataclass(frozen=True, slots=True)
class Needs:
    """The columns and the grain that a rollup must have.

    Columns that every rollup of the table keeps are left out.
    """

    table: str
    columns: frozenset[str]
    grain: Grain

    def find_lack(self, rollup: Rollup) -> str | None:
        """Say what the rollup lacks; None when it has all."""
        if lacking := sorted(self.columns.difference(rollup.columns)):
            return f"it has no {format_list(lacking)}"
        return "it has days and no hours" if self.grain < rollup.grain else None


def find_needs(source_query: SourceQuery) -> Needs | str:
    """Find what the source query needs; a sentence where no rollup can give it."""
    problem = next(_find_problems(source_query), None)
    if problem is not None:
        return problem
    cells = [CELLS[dimension] for dimension in _list_dimensions(source_query)]
    names = {name for cell in cells for name in list_columns(cell)} - {QUALIFYING}
    own = {source_query.source.column(name) or name for name in names}
    grains = [cell.grain for cell in cells if isinstance(cell, TimeCell)]
    table = source_query.source.table
    return Needs(table, frozenset(own - tenant_columns(table)), min([*grains, Grain.DAY]))


def _find_problems(source_query: SourceQuery) -> Iterator[str]:
    source = source_query.source
    if not TABLES[source.table].is_fact:
        yield f"{source.table} are objects and no facts of days"
    for metric in source_query.resolved.metrics:
        if not any(MEASURES[name].source is source for name in measures(metric.rule)):
            continue
        match metric.rule:
            case Distinct():
                yield f"{metric.name} is a distinct count, which does not add up"
            case Stock():
                yield f"{metric.name} is a stock, which does not add up over days"
            case rule if not all(map(is_summable, measures(rule))):
                yield f"{metric.name} does not add up"
    for dimension in _list_dimensions(source_query):
        if dimension.many_valued:
            yield f"{dimension.name} puts one fact into several rows"
        if dimension.grain is Grain.MINUTE:
            yield f"{dimension.name} is finer than the hours of any rollup"


def _list_dimensions(source_query: SourceQuery) -> Iterator[Dimension]:
    """List the dimensions of the report, then those of its filters."""
    yield from source_query.resolved.dimensions
    yield from (row.dimension for row, _ in source_query.resolved.filters)

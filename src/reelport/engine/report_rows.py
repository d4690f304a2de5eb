"""The second half of a report: writes an aggregated relation as the rows of the CSV.

It reads the relation's columns and the late lookups, and nothing else: whoever aggregated, the bytes are the same.
"""

from __future__ import annotations

from sqlglot import exp

from reelport.catalog import CellType, Dimension
from reelport.engine import numbers
from reelport.engine.aggregation import Aggregation
from reelport.engine.lookups import join_lookups, late_lookups, lookup_column
from reelport.engine.relations import Relations
from reelport.engine.trees import alias, call, select, subquery

_AGGREGATED = "report"
_TIME_FORMATS = {
    CellType.MINUTE: "%Y-%m-%dT%H:%M:%SZ",
    CellType.HOUR: "%Y-%m-%dT%H:%M:%SZ",
    CellType.MONTH: "%Y-%m",
}


def select_report_rows(
    aggregation: Aggregation, aggregated: exp.Query, relations: Relations, *, ordered: bool = True
) -> exp.Select:
    """Select the CSV's cells from the aggregated rows.

    If `ordered`, they are sorted by the dimensions in the query's order, empty cells last. Of `relations` only lookups
    are read.
    """
    resolved = aggregation.resolved
    late = late_lookups(resolved)
    cells = {
        dimension: lookup_column(late[dimension]) if dimension in late else exp.column(dimension.header, _AGGREGATED)
        for dimension in resolved.dimensions
    }
    digits = {measure.name: measure.digits for measure in aggregation.measures}
    written = [alias(_format_cell(dimension, cell), dimension.header) for dimension, cell in cells.items()]
    values = (alias(numbers.metric_value(row, _AGGREGATED, digits), row.header) for row in resolved.metrics)
    tree = select(*written, *values).from_(subquery(aggregated, _AGGREGATED), copy=False)
    tree = join_lookups(tree, late.values(), _AGGREGATED, relations)
    order = [exp.Ordered(this=cell.copy(), desc=False, nulls_first=False) for cell in cells.values()]
    return tree.order_by(*order, copy=False) if order and ordered else tree


def _format_cell(dimension: Dimension, cell: exp.Expr) -> exp.Expr:
    """Format a time as the CSV writes it; leave any other cell as it is."""
    if dimension.type not in _TIME_FORMATS:
        return cell
    return call("STRFTIME", cell, exp.Literal.string(_TIME_FORMATS[dimension.type]))

"""The second half of a report: writes an aggregated relation as the rows of the CSV.

It reads the relation's columns and the late lookups, and nothing else: whoever aggregated, the bytes are the same.
All arithmetic is exact: in integers and decimals, never in floats.
"""

from __future__ import annotations

from reelport.catalog import CellType, Difference, Dimension, Distinct, Metric, Ratio, Stock, Sum, Total
from reelport.engine.mapping import MEASURES, WIDEST_DECIMAL
from reelport.engine.rates import divide_sums
from reelport.engine.relations import Relations, join_lookups, lookup_column
from reelport.engine.resolved_query import ResolvedQuery

_AGGREGATED = "report"
_TIME_FORMATS = {
    CellType.MINUTE: "%Y-%m-%dT%H:%M:%SZ",
    CellType.HOUR: "%Y-%m-%dT%H:%M:%SZ",
    CellType.MONTH: "%Y-%m",
}


def select_report_rows(resolved: ResolvedQuery, aggregated: str, relations: Relations, *, ordered: bool = True) -> str:
    """Select the CSV's cells from the aggregated rows.

    If `ordered`, they are sorted by the dimensions in the query's order, empty cells last. Of `relations` only lookups
    are read.
    """
    late = resolved.late_lookups
    cells = {
        dimension: lookup_column(late[dimension]) if dimension in late else f"{_AGGREGATED}.{dimension.header}"
        for dimension in resolved.dimensions
    }
    written = [f"{_format_cell(dimension, cell)} AS {dimension.header}" for dimension, cell in cells.items()]
    written += (f"{_compute_metric(row)} AS {row.header}" for row in resolved.metrics)
    joins = join_lookups(late.values(), _AGGREGATED, relations)
    order = ", ".join(f"{cell} NULLS LAST" for cell in cells.values())
    ending = f" ORDER BY {order}" if order and ordered else ""
    return f"SELECT {', '.join(written)} FROM ({aggregated}) AS {_AGGREGATED}{joins}{ending}"  # noqa: S608 - names of the catalog's, and SQL of ours


def _format_cell(dimension: Dimension, cell: str) -> str:
    form = _TIME_FORMATS.get(dimension.type)
    return cell if form is None else f"STRFTIME({cell}, '{form}')"


def _compute_metric(metric: Metric) -> str:
    """The metric's cell, computed from the aggregated measures.

    Without facts the cell is 0 if the metric is additive, else empty.
    """
    match metric.rule:
        case Sum(measure, digits):
            total = _sum_or_zero(measure)
            return f"CAST({total} AS DECIMAL({WIDEST_DECIMAL}, {digits}))" if digits else total
        case Total(parts):
            return _add_sums(parts)
        case Difference(minuend, subtrahend):
            return f"{_sum_or_zero(minuend)} - {_sum_or_zero(subtrahend)}"
        case Ratio() as ratio:
            sums = _sum_or_zero(ratio.numerator), _add_sums(ratio.denominator)
            return divide_sums(*sums, ratio, MEASURES[ratio.numerator].digits)
        case Distinct(of):
            return f"NULLIF({_AGGREGATED}.{of}, 0)"
        case Stock(measure):
            return f"{_AGGREGATED}.{measure}"


def _sum_or_zero(measure: str) -> str:
    return f"COALESCE({_AGGREGATED}.{measure}, 0)"


def _add_sums(parts: tuple[str, ...]) -> str:
    return " + ".join(map(_sum_or_zero, parts))

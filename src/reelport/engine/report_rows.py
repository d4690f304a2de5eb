"""The second half of a report: writes an aggregated relation as the rows of the CSV.

It reads the relation's columns and the late lookups, and nothing else: whoever aggregated, the bytes are the same.
All arithmetic is exact: in integers and decimals, never in floats.
"""

from __future__ import annotations

from reelport.catalog import CellType, Difference, Dimension, Distinct, Metric, Ratio, Stock, Sum, Total
from reelport.engine.mapping import MEASURES, WIDEST_DECIMAL
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
            return _divide(ratio, MEASURES[ratio.numerator].digits)
        case Distinct(of):
            return f"NULLIF({_AGGREGATED}.{of}, 0)"
        case Stock(measure):
            return f"{_AGGREGATED}.{measure}"


def _sum_or_zero(measure: str) -> str:
    return f"COALESCE({_AGGREGATED}.{measure}, 0)"


def _add_sums(parts: tuple[str, ...]) -> str:
    return " + ".join(map(_sum_or_zero, parts))


def _divide(ratio: Ratio, money: int) -> str:
    """Divide integers, and round as `round_ratio` does: half away from zero.

    n / d is sign(n) * ((2 * |n| + d) // (2 * d)).
    """
    numerator, one = _sum_or_zero(ratio.numerator), 10**money
    if money:
        numerator = f"CAST({_multiply(numerator, one)} AS HUGEINT)"
    above = _multiply(f"ABS({numerator})", 2 * ratio.scale * 10**ratio.digits)
    below = f"NULLIF({_add_sums(ratio.denominator)}, 0)"
    rounded = f"({above} + {_multiply(below, one)}) // ({_multiply(below, 2 * one)})"
    # From a number of the smallest unit to a decimal by a product: a division would give a double.
    whole = f"CAST(SIGN({numerator}) * ({rounded}) AS DECIMAL({WIDEST_DECIMAL - ratio.digits}, 0))"
    return f"{whole} * CAST('{10**-ratio.digits:.{ratio.digits}f}' AS DECIMAL({ratio.digits}, {ratio.digits}))"


def _multiply(amount: str, factor: int) -> str:
    # The cast keeps the product from overflowing: DuckDB gives a bare number the smallest type that fits.
    return amount if factor == 1 else f"{amount} * CAST({factor} AS BIGINT)"

"""The second half of a report: writes an aggregated relation as the rows of the CSV.

It reads the relation's columns and the late lookups, and nothing else: whoever aggregated, the bytes are the same.
All arithmetic is exact: in integers and decimals, never in floats.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from reelport.catalog import CellType, Difference, Dimension, Distinct, Metric, Ratio, Stock, Sum, Total
from reelport.engine.aggregation import Aggregation
from reelport.engine.relations import Relations, join_lookups, late_lookups, lookup_column
from reelport.engine.trees import WIDEST_DECIMAL, alias, call, cast, number, select, subquery

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
    values = (alias(_compute_metric(row, digits), row.header) for row in resolved.metrics)
    tree = select(*written, *values).from_(subquery(aggregated, _AGGREGATED), copy=False)
    tree = join_lookups(tree, late.values(), _AGGREGATED, relations)
    order = [exp.Ordered(this=cell.copy(), desc=False, nulls_first=False) for cell in cells.values()]
    return tree.order_by(*order, copy=False) if order and ordered else tree


def _format_cell(dimension: Dimension, cell: exp.Expr) -> exp.Expr:
    if dimension.type not in _TIME_FORMATS:
        return cell
    return call("STRFTIME", cell, exp.Literal.string(_TIME_FORMATS[dimension.type]))


def _compute_metric(metric: Metric, digits_of: Mapping[str, int]) -> exp.Expr:
    """The metric's cell, computed from the aggregated measures.

    `digits_of` has the decimal digits of each measure. Without facts the cell is 0 if the metric is additive, else
    empty.
    """
    match metric.rule:
        case Sum(measure, digits):
            total = _sum_or_zero(measure)
            return cast(total, f"DECIMAL({WIDEST_DECIMAL}, {digits})") if digits else total
        case Total(parts):
            return _add_sums(parts)
        case Difference(minuend, subtrahend):
            return exp.Sub(this=_sum_or_zero(minuend), expression=_sum_or_zero(subtrahend))
        case Ratio() as ratio:
            return _divide(ratio, digits_of[ratio.numerator])
        case Distinct(of):
            return call("NULLIF", exp.column(of, _AGGREGATED), number(0))
        case Stock(measure):
            return exp.column(measure, _AGGREGATED)


def _sum_or_zero(measure: str) -> exp.Expr:
    return call("COALESCE", exp.column(measure, _AGGREGATED), number(0))


def _add_sums(parts: tuple[str, ...]) -> exp.Expr:
    first, *others = (_sum_or_zero(part) for part in parts)
    for other in others:
        first = exp.Add(this=first, expression=other)
    return first


def _divide(ratio: Ratio, money: int) -> exp.Expr:
    """Divide integers, and round as `round_ratio` does: half away from zero.

    n / d is sign(n) * ((2 * |n| + d) // (2 * d)).
    """
    numerator = _sum_or_zero(ratio.numerator)
    if money:
        numerator = cast(_multiply(numerator, 10**money), "HUGEINT")
    above = _multiply(exp.Abs(this=numerator.copy()), 2 * ratio.scale * 10**ratio.digits)
    below = call("NULLIF", _add_sums(ratio.denominator), number(0))
    one = 10**money
    rounded = exp.IntDiv(
        this=exp.Paren(this=exp.Add(this=above, expression=_multiply(below, one))),
        expression=exp.Paren(this=_multiply(below.copy(), 2 * one)),
    )
    signed = exp.Mul(this=exp.Sign(this=numerator), expression=exp.Paren(this=rounded))
    return _to_decimal(signed, ratio.digits)


def _multiply(amount: exp.Expr, factor: int) -> exp.Expr:
    if factor == 1:
        return amount
    # The cast keeps the product from overflowing: DuckDB gives a bare number the smallest type that fits.
    return exp.Mul(this=amount, expression=cast(number(factor), "BIGINT"))


def _to_decimal(whole: exp.Expr, digits: int) -> exp.Expr:
    """Convert a number of the smallest unit to a decimal: a division would give a double."""
    unit = exp.Literal.string(f"{10**-digits:.{digits}f}")
    wide = cast(whole, f"DECIMAL({WIDEST_DECIMAL - digits}, 0)")
    return exp.Mul(this=wide, expression=cast(unit, f"DECIMAL({digits}, {digits})"))

"""Computes a metric's cell from aggregated measures.

All arithmetic is exact: in integers and decimals, never in floats.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from reelport.catalog import Difference, Distinct, Metric, Ratio, Stock, Sum, Total
from reelport.engine.trees import WIDEST_DECIMAL, call, cast, number


def metric_value(metric: Metric, table: str, digits_of: Mapping[str, int]) -> exp.Expr:
    """The metric's cell, computed from the aggregated measures in `table`.

    `digits_of` has the decimal digits of each measure. Without facts the cell is 0 if the metric is additive, else
    empty.
    """
    match metric.rule:
        case Sum(measure, digits):
            total = _sum_or_zero(measure, table)
            return cast(total, f"DECIMAL({WIDEST_DECIMAL}, {digits})") if digits else total
        case Total(parts):
            return _add_sums(parts, table)
        case Difference(minuend, subtrahend):
            return exp.Sub(this=_sum_or_zero(minuend, table), expression=_sum_or_zero(subtrahend, table))
        case Ratio() as ratio:
            return _divide(ratio, table, digits_of[ratio.numerator])
        case Distinct(of):
            return call("NULLIF", exp.column(of, table), number(0))
        case Stock(measure):
            return exp.column(measure, table)


def _sum_or_zero(measure: str, table: str) -> exp.Expr:
    return call("COALESCE", exp.column(measure, table), number(0))


def _add_sums(parts: tuple[str, ...], table: str) -> exp.Expr:
    first, *others = (_sum_or_zero(part, table) for part in parts)
    for other in others:
        first = exp.Add(this=first, expression=other)
    return first


def _divide(ratio: Ratio, table: str, money: int) -> exp.Expr:
    """Divide integers, rounding half away from zero.

    n / d is sign(n) * ((2 * |n| + d) // (2 * d)).
    """
    numerator = _to_integer(_sum_or_zero(ratio.numerator, table), money)
    above = _multiply(exp.Abs(this=numerator.copy()), 2 * ratio.scale * 10**ratio.digits)
    below = call("NULLIF", _add_sums(ratio.denominator, table), number(0))
    one = 10**money
    rounded = exp.IntDiv(
        this=exp.Paren(this=exp.Add(this=above, expression=_multiply(below, one))),
        expression=exp.Paren(this=_multiply(below.copy(), 2 * one)),
    )
    signed = exp.Mul(this=exp.Sign(this=numerator), expression=exp.Paren(this=rounded))
    return _to_decimal(signed, ratio.digits)


def _to_integer(amount: exp.Expr, digits: int) -> exp.Expr:
    """Convert a decimal to an integer number of its smallest unit."""
    return cast(_multiply(amount, 10**digits), "HUGEINT") if digits else amount


def _multiply(amount: exp.Expr, factor: int) -> exp.Expr:
    if factor == 1:
        return amount
    # The cast keeps the product from overflowing: DuckDB gives a bare number the smallest type that fits.
    return exp.Mul(this=amount, expression=cast(number(factor), "BIGINT"))


def _to_decimal(whole: exp.Expr, digits: int) -> exp.Expr:
    """Convert an integer number of the smallest unit to a decimal.

    This multiplies, as a division would give a double.
    """
    unit = exp.Literal.string(f"{10**-digits:.{digits}f}")
    wide = cast(whole, f"DECIMAL({WIDEST_DECIMAL - digits}, 0)")
    return exp.Mul(this=wide, expression=cast(unit, f"DECIMAL({digits}, {digits})"))

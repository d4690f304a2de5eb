"""How the sums of a group become the number in a cell: exact, in integers and decimals, never through a float."""

from __future__ import annotations

from sqlglot import exp

from reelport.catalog import Difference, Distinct, Metric, Ratio, Rule, Stock, Sum, Total, measures
from reelport.engine.mapping import MEASURES
from reelport.engine.trees import call, cast, number

_WIDEST = 38
"""Digits of the widest decimal there is; whatever needs more fails aloud."""


def aggregate_measures(rule: Rule, table: str) -> dict[str, exp.Expr]:
    """What a group keeps of each measure of the rule: its sum, or how many different values it has."""
    counted = isinstance(rule, Distinct)
    return {name: _aggregate(exp.column(name, table), counted=counted) for name in measures(rule)}


def metric_value(metric: Metric, table: str) -> exp.Expr:
    """The metric's cell, from what its group kept: an additive one without facts is 0, any other is empty."""
    match metric.rule:
        case Sum(measure, digits):
            total = _sum_or_zero(measure, table)
            return cast(total, f"DECIMAL({_WIDEST}, {digits})") if digits else total
        case Total(parts):
            return _add_sums(parts, table)
        case Difference(minuend, subtrahend):
            return exp.Sub(this=_sum_or_zero(minuend, table), expression=_sum_or_zero(subtrahend, table))
        case Ratio() as ratio:
            return _divide(ratio, table)
        case Distinct(of):
            return call("NULLIF", exp.column(of, table), number(0))
        case Stock(measure):
            return exp.column(measure, table)


def _aggregate(column: exp.Column, *, counted: bool) -> exp.Expr:
    return exp.Count(this=exp.Distinct(expressions=[column])) if counted else exp.Sum(this=column)


def _sum_or_zero(measure: str, table: str) -> exp.Expr:
    return call("COALESCE", exp.column(measure, table), number(0))


def _add_sums(parts: tuple[str, ...], table: str) -> exp.Expr:
    first, *others = (_sum_or_zero(part, table) for part in parts)
    for other in others:
        first = exp.Add(this=first, expression=other)
    return first


def _divide(ratio: Ratio, table: str) -> exp.Expr:
    """Of `n / d` with whole n and d, half up and away from zero: sign(n) * ((2 * |n| + d) // (2 * d))."""
    money = MEASURES[ratio.numerator].digits
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
    """A decimal as a whole number of its smallest unit."""
    return cast(_multiply(amount, 10**digits), "HUGEINT") if digits else amount


def _multiply(amount: exp.Expr, factor: int) -> exp.Expr:
    if factor == 1:
        return amount
    # A cast of its own keeps the product whole: a bare number could be taken for a small one.
    return exp.Mul(this=amount, expression=cast(number(factor), "BIGINT"))


def _to_decimal(whole: exp.Expr, digits: int) -> exp.Expr:
    """A whole number of the smallest unit as a decimal: by a product, since a division would be a double."""
    unit = exp.Literal.string(f"{10**-digits:.{digits}f}")
    wide = cast(whole, f"DECIMAL({_WIDEST - digits}, 0)")
    return exp.Mul(this=wide, expression=cast(unit, f"DECIMAL({digits}, {digits})"))

"""Divides the sums of a rate and rounds it: in integers and decimals, never in floats."""

from __future__ import annotations

from reelport.catalog import Ratio
from reelport.engine.mapping import WIDEST_DECIMAL


def divide_sums(numerator: str, denominator: str, ratio: Ratio, money: int) -> str:
    """Divide sums, and round as `round_ratio` does: half away from zero.

    n / d is sign(n) * ((2 * |n| + d) // (2 * d)), in integers. `money` is how many decimal digits the numerator has.
    """
    one = 10**money
    if money:
        numerator = f"CAST({_multiply(numerator, one)} AS HUGEINT)"
    above = _multiply(f"ABS({numerator})", 2 * ratio.scale * 10**ratio.digits)
    below = f"NULLIF({denominator}, 0)"
    rounded = f"({above} + {_multiply(below, one)}) // ({_multiply(below, 2 * one)})"
    # From a number of the smallest unit to a decimal by a product: a division would give a double.
    whole = f"CAST(SIGN({numerator}) * ({rounded}) AS DECIMAL({WIDEST_DECIMAL - ratio.digits}, 0))"
    return f"{whole} * CAST('{10**-ratio.digits:.{ratio.digits}f}' AS DECIMAL({ratio.digits}, {ratio.digits}))"


def _multiply(amount: str, factor: int) -> str:
    # The cast keeps the product from overflowing: DuckDB gives a bare number the smallest type that fits.
    return amount if factor == 1 else f"{amount} * CAST({factor} AS BIGINT)"

"""What the rules of the catalog's rows say of numbers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.catalog import round_ratio

SUMS = st.integers(-(10**30), 10**30) | st.decimals(-(10**12), 10**12, places=6)


@given(SUMS, SUMS, st.sampled_from([1, 100, 1000]), st.integers(0, 6))
def test_a_ratio_is_the_nearest_number_of_its_digits(
    above: int | Decimal, below: int | Decimal, scale: int, digits: int
) -> None:
    """By fractions: it is off by half of the last digit at most, and there it is the one farther from zero."""
    found = round_ratio(above, below, scale, digits)
    if not below:
        assert found is None
        return
    assert found is not None
    exact = Fraction(above) / Fraction(below) * scale * 10**digits
    assert abs(found - exact) <= Fraction(1, 2)
    if abs(found - exact) == Fraction(1, 2):
        assert abs(found) > abs(exact)


@pytest.mark.parametrize(
    ("above", "below", "found"), [(1, 8, 13), (-1, 8, -13), (1, -8, -13), (0, -8, 0), (1, 0, None)]
)
def test_a_half_is_rounded_away_from_zero(above: int, below: int, found: int | None) -> None:
    """An eighth with two digits is 0.13."""
    assert round_ratio(above, below, 1, 2) == found

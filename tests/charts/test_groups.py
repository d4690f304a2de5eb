"""Rows of a report summed by what they have in common."""

from __future__ import annotations

from decimal import Decimal

from reelport.additivity import Rate
from reelport.charts import Group


def test_a_rate_of_several_rows_is_rounded_once() -> None:
    """A share just below the half of its last digit stays below, and so do numbers of more than 28 digits."""
    below_half = Group(2, None, (Decimal(10**31 // 2 - 1), Decimal(10**33)))
    half = Group(2, None, (Decimal(10**31 // 2), Decimal(10**33)))
    rate = Rate(0, (1,), 1, 2)
    assert [str(group.value(rate)) for group in (below_half, half)] == ["0.00", "0.01"]
    assert Group(2, None, (Decimal(1), Decimal(0))).value(rate) is None

"""Numbers are written as people read them, and never longer than a column."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest

from reelport.catalog import Metric
from reelport.server.explore.numbers import Figure, Number
from reelport.server.studio.view_page import write_change, write_number, write_share

MONEY, VIEWS = Metric.ESTIMATED_EARNINGS_EUR, Metric.VIEWS


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (VIEWS, None, "\N{EN DASH}"),
        (VIEWS, 0, "0"),
        (VIEWS, 2**63, "9 223 372 036 854 775 808"),
        (MONEY, Decimal("1234.567890"), "€1 234.57"),
        (MONEY, Decimal("-12.5"), "\N{MINUS SIGN}€12.50"),
        (MONEY, Decimal("0.123456"), "€0.12"),
        (MONEY, Decimal("-0.004321"), "\N{MINUS SIGN}<\N{NO-BREAK SPACE}€0.01"),
        (MONEY, Decimal("0.000000"), "€0.00"),
        (Metric.ECPM_USD, Decimal("0.5"), "$0.50"),
        (Metric.VIEW_THROUGH_RATE, Decimal("0.05"), "0.05"),
        (Metric.FILL_RATE, Decimal("0.1234"), "0.1234"),
    ],
)
def test_a_number_is_rounded_only_behind_the_point(metric: Metric, value: Number, text: str) -> None:
    """Thousands are set apart by narrow spaces; what is missing is a dash."""
    assert write_number(metric, value) == text.replace(" ", "\N{NARROW NO-BREAK SPACE}")


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(150, 100), "+50.0 %"),
        (Figure(0, 100), "\N{MINUS SIGN}100.0 %"),
        (Figure(100, 100), "0.0 %"),
        (Figure(9_999, 10_000), "0.0 %"),
        (Figure(1500, 0), "+1 500"),
        (Figure(0, 0), "0"),
        (Figure(5, None), "\N{EN DASH}"),
    ],
)
def test_a_change_is_a_percentage_where_there_was_something(figure: Figure, text: str) -> None:
    """From nothing it is the number itself; one that is rounded to none has no sign."""
    assert write_change(figure, partial(write_number, VIEWS)) == text.replace(" ", "\N{NARROW NO-BREAK SPACE}")


def test_a_share_is_a_percentage_with_one_digit() -> None:
    """There may be none."""
    assert write_share(Decimal("0.12345")) == "12.3\N{NARROW NO-BREAK SPACE}%"
    assert write_share(None) == "\N{EN DASH}"

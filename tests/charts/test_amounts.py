"""Numbers on charts: short, in full, in a unit of their size, on round ticks."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.catalog import Unit
from reelport.charts.amounts import choose_scale, format_full, format_short


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (7, "7"),
        (0.42, "0.42"),
        (0.00123, "0.00123"),
        (999.9, "1 k"),
        (1234, "1.23 k"),
        (12_345, "12.3 k"),
        (999_950, "1 M"),
        (4_000_000, "4 M"),
        (-2_500_000_000, "-2.5 B"),
        (1e12, "1 T"),
        (1.26e17, "1.3e+17"),
    ],
)
def test_numbers_are_short(value: float, said: str) -> None:
    """Three digits tell sizes apart; what is rounded up takes the larger unit's name."""
    assert format_short(value).replace("\N{NO-BREAK SPACE}", " ") == said


def test_numbers_in_full_lose_nothing() -> None:
    """All digits, thousands apart, and the unit; of zeros at the end two stay, for cents."""
    assert format_full(Decimal("12.500000"), Unit.EUR) == "€12.50"
    assert format_full(Decimal("0.0825")) == "0.0825"
    assert format_full(12_345, Unit.VIEWS) == "12,345 views"
    assert format_full(1, Unit.VIEWS) == "1 view"
    assert format_full(Decimal("1234567.8900"), Unit.EUR) == "€1,234,567.89"
    assert format_full(0.1) == "0.1"
    assert format_full(10**20) == "100,000,000,000,000,000,000"
    assert format_full(None) == "no number"


@pytest.mark.parametrize(
    ("unit", "largest", "name", "ticks"),
    [
        (Unit.SECONDS, 50, "seconds", ["0", "20", "40", "60"]),
        (Unit.SECONDS, 300, "minutes", ["0", "2", "4", "6"]),
        (Unit.SECONDS, 3600, "hours", ["0", "0.25", "0.50", "0.75", "1.00"]),
        (Unit.SECONDS, 36_000, "hours", ["0", "2.5", "5.0", "7.5", "10.0"]),
        (Unit.BYTES, 130_000_000_000, "GB", ["0", "50", "100", "150"]),
        (Unit.PERCENT, 87, "percent", ["0", "25", "50", "75", "100"]),
        (Unit.EUR, 3, "", ["€0", "€1", "€2", "€3"]),
        (Unit.EUR, 0.17, "", ["€0", "€0.05", "€0.10", "€0.15", "€0.20"]),
        (Unit.SHARE, 0.62, "percent", ["0", "20", "40", "60", "80"]),
        (Unit.SECONDS_PER_VIEW, 25, "", ["0:00", "0:10", "0:20", "0:30"]),
        (Unit.SECONDS_PER_VIEW, 222, "", ["0:00", "1:00", "2:00", "3:00", "4:00"]),
        (Unit.SECONDS_PER_VIEW, 5000, "", ["0:00", "25:00", "50:00", "1:15:00", "1:40:00"]),
        (None, 0, "", ["0", "1"]),
    ],
)
def test_an_axis_has_round_ticks_in_a_unit_of_its_size(
    unit: Unit | None, largest: float, name: str, ticks: list[str]
) -> None:
    """Seconds become hours, bytes GB, a time a view a clock; ticks are round in what they then are."""
    scale = choose_scale([largest], unit, 5)
    assert (scale.unit, list(scale.format_ticks().values())) == (name, ticks)


@given(st.lists(st.none() | st.floats(-1e15, 1e15) | st.integers(-(10**12), 10**12), max_size=9), st.integers(2, 8))
def test_an_axis_holds_nought_and_every_number(values: list[float | int | None], most: int) -> None:
    """At most so many ticks, in order, none of them alike."""
    scale = choose_scale(values, Unit.BYTES, most)
    assert 2 <= len(scale.ticks) <= most or most == 2
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert all(-1e-9 <= scale.place(value) <= 1 + 1e-9 for value in (0, *values) if value is not None)


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        (Unit.EUR, ["-€20", "€0", "€10\N{NO-BREAK SPACE}k"]),
        (Unit.USD_PER_1000_IMPRESSIONS, ["-$20", "$0", "$10\N{NO-BREAK SPACE}k"]),
    ],
)
def test_an_axis_of_money_has_the_sign_of_its_currency(unit: Unit, said: list[str]) -> None:
    """Before each number, after a minus: the heading may be far away."""
    scale = choose_scale([Decimal("12345.5"), Decimal(-20)], unit, 4)
    assert [scale.format(value) for value in (-20, 0, 10_000)] == said

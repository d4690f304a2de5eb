"""Times on an axis: round ticks, holes, which of them are complete."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from reelport.catalog import Grain
from reelport.charts.time_axis import count_settled, describe_time, fill_times, make_ticks


def days(first: date, many: int) -> list[str]:
    """So many days in a row."""
    return [str(first + timedelta(days=n)) for n in range(many)]


@pytest.mark.parametrize(
    ("first", "many", "ticks"),
    [
        (date(2026, 3, 1), 1, ["1 Mar"]),
        (date(2026, 3, 1), 4, ["1 Mar", "2 Mar", "3 Mar", "4 Mar"]),
        (date(2025, 12, 22), 21, ["22 Dec 2025", "29 Dec 2025", "5 Jan 2026"]),
        (date(2025, 11, 15), 92, ["1 Dec 2025", "1 Jan 2026", "1 Feb 2026"]),
        (date(2026, 1, 1), 120, ["1 Jan", "1 Feb", "1 Mar", "1 Apr"]),
    ],
)
def test_ticks_are_weeks_or_firsts_of_months(first: date, many: int, ticks: list[str]) -> None:
    """At most eight; the year is told where years differ."""
    assert list(make_ticks(days(first, many), Grain.DAY).values()) == ticks


@pytest.mark.parametrize("most", [2, 3, 5, 8])
def test_no_axis_has_more_ticks_than_it_may(most: int) -> None:
    """Whatever the grain and the range are, there is one at least."""
    months = [f"{year}-{month:02}" for year in range(1999, 2027) for month in range(1, 13)]
    hours = [f"{day}T{hour:02}:00:00Z" for day in days(date(2026, 1, 1), 9) for hour in range(24)]
    axes = {Grain.DAY: days(date(2026, 1, 5), 300), Grain.MONTH: months, Grain.HOUR: hours}
    for grain, labels in axes.items():
        for many in range(1, len(labels) + 1, 7):
            assert 1 <= len(make_ticks(labels[:many], grain, most)) <= most


def test_years_and_months_of_three_years_are_told() -> None:
    """Half years, each with its year."""
    months = [f"{year}-{month:02}" for year in (2023, 2024, 2025, 2026) for month in range(1, 13)][6:43]
    said = ["Jul 2023", "Jan 2024", "Jul 2024", "Jan 2025", "Jul 2025", "Jan 2026", "Jul 2026"]
    assert list(make_ticks(months, Grain.MONTH).values()) == said


def test_a_time_is_settled_with_its_last_day() -> None:
    """A month only when it is complete; hours with their day; nothing where no day is."""
    end = date(2026, 12, 31)
    assert count_settled(["2026-07-01", "2026-07-02", "2026-07-03"], Grain.DAY, date(2026, 7, 2), end) == 2
    assert count_settled(["2026-06", "2026-07"], Grain.MONTH, date(2026, 7, 30), end) == 1
    assert count_settled(["2026-06", "2026-07"], Grain.MONTH, date(2026, 7, 31), end) == 2
    assert count_settled(["2026-07-01T23:00:00Z", "2026-07-02T00:00:00Z"], Grain.HOUR, date(2026, 7, 1), end) == 1
    assert count_settled(["2026-07-01"], Grain.DAY, None, end) == 0


def test_a_month_of_which_complete_days_alone_are_shown_is_settled() -> None:
    """What its later days will bring moves no number of a report that ends before them."""
    months, complete = ["2026-06", "2026-07"], date(2026, 7, 30)
    assert count_settled(months, Grain.MONTH, complete, complete) == 2
    assert count_settled(months, Grain.MONTH, complete, date(2026, 7, 31)) == 1


def test_times_are_told_in_words() -> None:
    """As exact as the label is; a label that is no time stays."""
    assert [describe_time(label) for label in ("2026", "2026-07", "2026-07-01", "2026-07-01T05:00:00Z", "n/a")] == [
        "2026",
        "Jul 2026",
        "1 Jul 2026",
        "1 Jul 2026 05:00",
        "n/a",
    ]


def test_holes_between_times_are_listed() -> None:
    """Over the ends of months; nothing where a label is no time."""
    assert fill_times(["2026-02-27", "2026-03-02"], Grain.DAY) == [
        "2026-02-27",
        "2026-02-28",
        "2026-03-01",
        "2026-03-02",
    ]
    assert fill_times(["2025-12", "2026-02"], Grain.MONTH) == ["2025-12", "2026-01", "2026-02"]
    assert fill_times(["2026-02", "other"], Grain.MONTH) == []

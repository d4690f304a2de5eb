"""Axes and labels of charts: round ticks of times and numbers, and labels drawn, replaced or cut to their room."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.catalog import Grain, Unit
from reelport.charts.amounts import choose_scale, format_full, format_short
from reelport.charts.report_chart import make_label, name_as_heading
from reelport.charts.svg import isolate
from reelport.charts.time_axis import count_settled, describe_time, fill_times, make_ticks
from reelport.cli.output.chart import format_number


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
    assert describe_time("2026-07-01", with_weekday=True) == "Wed 1 Jul 2026"
    assert describe_time("2026-07", with_weekday=True) == "Jul 2026"


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


TEXTS = st.text(
    st.sampled_from("ab 🎬👨👩👍🏽❤☺今ÄИאخहिก1️⃣🇫🇷\u200d\ufe0f\u0301\u0338\n\u202e") | st.characters(), max_size=60
)


def test_numbers_and_names_read_well() -> None:
    """Thousands are set apart, small numbers keep two digits, names are words."""
    assert [format_number(value) for value in (0, 7, 1234567, 0.4, 1234.5, None)] == [
        "0",
        "7",
        "1,234,567",
        "0.40",
        "1,234",
        "-",
    ]
    assert name_as_heading("ESTIMATED_EARNINGS_EUR") == "Estimated earnings (EUR)"
    assert (name_as_heading("ECPM_EUR"), name_as_heading("VIDEO_ID"), name_as_heading("GDPR_FULL_CONSENT_SCORE")) == (
        "eCPM (EUR)",
        "Video",
        "Full consent rate",
    )


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("  two\n\tlines ", "two lines"),
        ("", "Unknown"),
        ("e\u0301te\u0301", "été"),
        ("👍🏽 ❤\ufe0f", "👍🏽 ❤\ufe0f"),
        ("नमस्ते", "नमस्ते"),
        ("می\u200cشود", "می\u200cشود"),
        ("\u202eright", "right"),
    ],
)
def test_a_label_is_one_line(text: str, label: str) -> None:
    """Line ends and signs of control go; letters and their own marks stay."""
    assert make_label(text) == label


def test_right_to_left_text_is_isolated() -> None:
    """So that what follows on the line, a bar and a number, stays where it is; other text is as it was."""
    assert isolate("2026 شود") == "\u20682026 شود\u2069"
    assert isolate("2026 חדשות").startswith("\u2068")
    assert isolate("2026 今日") == "2026 今日"

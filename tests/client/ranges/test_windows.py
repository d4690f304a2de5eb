"""Windows: what they cover, where they are cut, and what is left between those that were had before."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reelport.client.ranges.windows import Window, cut, halve, split_by_existing

days = st.dates(date(1999, 12, 1), date(2032, 3, 1))


@st.composite
def ranges(draw: st.DrawFn) -> Window:
    """Any range of up to four years, its ends anywhere in a month."""
    start = draw(days)
    return Window(start, start + timedelta(draw(st.integers(0, 1500))))


def covers(whole: Window, windows: tuple[Window, ...]) -> bool:
    """Whether each day of the whole is in one window, in order, and no other day is in any."""
    each = [window.start + timedelta(day) for window in windows for day in range(window.days)]
    return each == [whole.start + timedelta(day) for day in range(whole.days)]


@given(ranges(), st.integers(1, 400))
def test_windows_cover_the_range_and_no_day_twice(whole: Window, longest: int) -> None:
    """No gap, no overlap, nothing outside, none above the limit, and all but the last as long as may be."""
    windows = cut(whole, longest)
    assert covers(whole, windows)
    assert {window.days for window in windows[:-1]} <= {longest}
    assert windows[-1].days <= longest


@given(ranges(), st.integers(31, 400))
def test_windows_by_months_end_with_months(whole: Window, longest: int) -> None:
    """Only the range's own ends lie inside a month, and a month more would be too long."""
    windows = cut(whole, longest, months=True)
    assert covers(whole, windows)
    for window, after in pairwise(windows):
        assert after.start.day == 1
        assert window.days <= longest
        month = next(day for day in range(1, 32) if (after.start + timedelta(day)).day == 1)
        assert window.days + month > longest or after.end < after.start + timedelta(month - 1)


def test_three_years_are_seven_windows() -> None:
    """What a partner's back-fill looks like: 180 days at most, the oldest first; by months, whole months."""
    whole = Window(date(2023, 1, 1), date(2025, 12, 31))
    assert [str(window) for window in cut(whole, 180)][:2] == ["2023-01-01..2023-06-29", "2023-06-30..2023-12-26"]
    assert len(cut(whole, 180)) == 7
    assert [window.end for window in cut(whole, 180, months=True)][:3] == [
        date(2023, 5, 31),
        date(2023, 10, 31),
        date(2024, 3, 31),
    ]


@given(ranges(), st.booleans())
def test_halves_cover_the_window_down_to_a_day_or_a_month(whole: Window, months: bool) -> None:
    """Halving ends with single days, or with windows inside one month; until then both halves have days."""
    parts = halve(whole, months=months)
    if parts:
        assert covers(whole, parts)
        assert len(parts) == 2
        assert not months or parts[1].start.day == 1
    elif months:
        assert (whole.start.year, whole.start.month) == (whole.end.year, whole.end.month)
    else:
        assert whole.days == 1


def test_halving_is_near_the_middle() -> None:
    """A window of 180 days comes down to a day in eight cuts at the most."""
    window, cuts = Window(date(2024, 1, 1), date(2024, 6, 28)), 0
    while parts := halve(window):
        window, cuts = max(parts, key=lambda part: part.days), cuts + 1
    assert cuts == 8
    assert [part.days for part in halve(Window(date(2024, 1, 1), date(2024, 1, 4)))] == [2, 2]


@given(ranges(), st.lists(ranges(), max_size=6))
def test_pieces_are_what_was_had_and_what_lies_between(whole: Window, had: list[Window]) -> None:
    """The pieces cover the window; those that were had before are taken as they are, unless they overlap."""
    found = tuple(split_by_existing(whole, had))
    assert covers(whole, found)
    inside = [piece for piece in had if piece in whole]
    assert bool(inside) == any(piece in had for piece in found) or whole in found


def test_the_last_days_of_the_calendar_are_days() -> None:
    """A range that ends with the calendar is cut like any other."""
    whole = Window(date(9999, 11, 1), date.max)
    assert covers_by_ordinal(whole, cut(whole, 31, months=True))
    assert covers_by_ordinal(whole, cut(whole, 7))
    assert [str(part) for part in halve(Window(date(9999, 12, 30), date.max))] == [
        "9999-12-30..9999-12-30",
        "9999-12-31..9999-12-31",
    ]


def covers_by_ordinal(whole: Window, windows: tuple[Window, ...]) -> bool:
    return sum(window.days for window in windows) == whole.days and windows[-1].end == whole.end

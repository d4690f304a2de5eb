"""Sets of days against Python's own sets, and how windows are planned from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.client.ranges.windows import Window
from reelport.errors import NewerData, StorageError
from reelport.sync.coverage import cut_windows, missing_days
from reelport.sync.spec import Days, Kind, Place, Spec, month_first, month_last
from reelport.sync.staging import Delivery
from reelport.sync.verified_days import State

ORIGIN = date(2026, 1, 1)
HERE = "http://here"
PLACE = Place(Kind.DUCKDB, Path("copy.duckdb"))
DAILY = Spec("daily", ("VIEWS",), ("DAY",), ORIGIN, PLACE, lookback=3, settle=1, window=10)
MONTHLY = Spec("monthly", ("VIEWS",), ("MONTH",), ORIGIN, PLACE, lookback=3, settle=1, window=40)


def day(number: int) -> date:
    return ORIGIN + timedelta(days=number)


numbers = st.integers(0, 60)
spans = st.lists(st.tuples(numbers, numbers), max_size=6)


def days_of(pairs: list[tuple[int, int]]) -> tuple[Days, set[date]]:
    """The same days as ours and as Python's."""
    ours = Days.of((day(first), day(last)) for first, last in pairs)
    return ours, {day(number) for first, last in pairs for number in range(first, last + 1)}


@given(spans, spans)
def test_days_are_a_set(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    """Union, intersection, difference, membership, order and size are those of a set of days."""
    ours, theirs = days_of(left)
    more, others = days_of(right)
    for made, meant in ((ours | more, theirs | others), (ours & more, theirs & others), (ours - more, theirs - others)):
        assert list(made) == sorted(meant)
        assert len(made) == len(meant)
        assert all((each in made) == (each in meant) for each in map(day, range(-1, 62)))
        assert all(
            last + timedelta(days=1) < first for (_, last), (first, _) in zip(made.spans, made.spans[1:], strict=False)
        )
        assert Days.from_json(made.to_json()) == made


def test_days_at_the_end_of_the_calendar_are_days() -> None:
    """The last day that there is can be in a set."""
    assert len(Days.of([(date.max, date.max), (date.min, date.min)])) == 2
    assert not (Days.between(date.min, date.max) - Days.between(date.min, date.max)).spans


def state(present: Days, verified: Days, spec: Spec = DAILY) -> State:
    return State(HERE, spec.identity, present, verified)


def test_a_first_run_reads_all_but_the_unsettled_days() -> None:
    """From the start to the day before today, in windows of the spec's length, oldest first."""
    found = cut_windows(DAILY, missing_days(DAILY, State(), HERE, day(25)))
    assert [str(window) for window in found] == [
        "2026-01-01..2026-01-10",
        "2026-01-11..2026-01-20",
        "2026-01-21..2026-01-25",
    ]


def test_only_what_is_not_verified_is_read_again() -> None:
    """Days that moved when they were read stay on the list, however long ago that was; gaps are filled."""
    present = Days.of([(day(0), day(4)), (day(8), day(19))])
    verified = Days.of([(day(0), day(4)), (day(8), day(16))])
    assert missing_days(DAILY, state(present, verified), HERE, day(60)) == Days.of(
        [(day(5), day(7)), (day(17), day(59))]
    )


def test_an_earlier_start_fills_the_gap() -> None:
    """With the start a month earlier just that month is read."""
    whole = Days.between(day(0), day(24))
    earlier = Spec("daily", ("VIEWS",), ("DAY",), day(-31), PLACE, lookback=0, settle=1)
    assert missing_days(earlier, state(whole, whole, earlier), HERE, day(25)) == Days.between(day(-31), day(-1))


@pytest.mark.parametrize("change", [{"metrics": ("VIEWS", "UPLOADS")}, {"filters": (("mediaType", "LIVE"),)}])
def test_another_meaning_reads_every_day_again(change: dict[str, tuple[object, ...]]) -> None:
    """A spec that asks for something else finds nothing of what was read before; another order is no other meaning."""
    whole = Days.between(day(0), day(24))
    other = replace(DAILY, **change)  # type: ignore[arg-type]  # each change is of its field's type
    assert len(missing_days(other, state(whole, whole), HERE, day(25))) == 25
    swapped = replace(other, metrics=other.metrics[::-1])
    assert swapped.identity == other.identity


def test_months_are_read_whole() -> None:
    """Of rows by month no window ends inside a month, and a month with new days is read from its first."""
    found = cut_windows(MONTHLY, missing_days(MONTHLY, State(), HERE, date(2026, 4, 10)))
    assert [str(window) for window in found] == [
        "2026-01-01..2026-01-31",
        "2026-02-01..2026-02-28",
        "2026-03-01..2026-04-09",
    ]
    read = Days.between(ORIGIN, date(2026, 4, 9))
    had = state(read, Days.between(ORIGIN, date(2026, 3, 31)), MONTHLY)
    assert missing_days(MONTHLY, had, HERE, date(2026, 4, 11)) == Days.between(date(2026, 4, 1), date(2026, 4, 10))


@given(st.integers(0, 400), st.integers(0, 30), st.integers(0, 3))
def test_a_day_stands_still_once_it_is_old_enough(age: int, lookback: int, settle: int) -> None:
    """By day: `settle` and `lookback` days; by month the whole month must be as old."""
    asked = day(age)
    for dimension in ("DAY", "MONTH"):
        spec = Spec("x", ("VIEWS",), (dimension,), ORIGIN, PLACE, lookback=lookback, settle=settle)
        still = spec.last_final_day(asked)
        assert (asked - still).days >= lookback + settle
        if dimension == "DAY":
            assert (asked - still).days == lookback + settle
        else:
            assert still == month_last(still)
            assert (asked - month_last(still + timedelta(days=1))).days < lookback + settle
            assert month_first(still + timedelta(days=1)) == still + timedelta(days=1)


def test_a_state_survives_its_text() -> None:
    """To JSON and back nothing changes; damage and a newer format are told apart."""
    full = state(Days.between(day(0), day(9)), Days.between(day(0), day(5)))
    assert State.from_json(full.to_json()) == full
    with pytest.raises(NewerData):
        State.from_json(full.to_json().replace('"format": 1', '"format": 2'))
    for text in ("", "[]", "{}", full.to_json().replace("2026-01-01", "2026-13-01")):
        with pytest.raises(StorageError):
            State.from_json(text)


def test_rows_of_another_service_are_not_current() -> None:
    """Neither present nor verified days count for a service that the rows didn't come from: all are read again."""
    whole = Days.between(day(0), day(24))
    had = state(whole, whole)
    assert not had.is_current(DAILY, "http://elsewhere")
    assert missing_days(DAILY, had, "http://elsewhere", day(25)) == whole


@pytest.mark.parametrize("moved", ["service", "query"])
def test_the_first_window_of_another_meaning_leaves_only_its_own_days(moved: str) -> None:
    """A run that stops after it finds no other day present or verified, so the next one reads the rest."""
    whole = Days.between(day(0), day(24))
    service = "http://elsewhere" if moved == "service" else HERE
    spec = replace(DAILY, metrics=("UPLOADS",)) if moved == "query" else DAILY
    window = Window(day(0), day(9))
    delivery = Delivery(window, Path("report.csv"), "t", datetime(2026, 6, 1, tzinfo=UTC), service)
    after = replace(state(whole, whole), vouched=whole).after(spec, delivery)
    assert after.present == after.verified == Days.of_window(window)
    assert not after.vouched.spans
    assert missing_days(spec, after, service, day(25)) == Days.between(day(10), day(24))

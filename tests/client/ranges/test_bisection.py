"""Bisection: which windows are read when some fail, are refused or are too long, and when it gives up."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport import QueryRefused, ReportFailed
from reelport.client.events import Bisected, Event
from reelport.client.ranges.run import Bisection, is_hopeless
from reelport.client.ranges.windows import Window
from reelport.client.session import Session
from reelport.client.settings.config import PrivateKey, Settings
from reelport.errors import AccessError, AskLost, Problem, QueueFull, ReelportError, SlotsFull, StorageError, UsageError
from reelport.report_details import FailureReason
from reelport.wire import Code

FIRST = date(2024, 1, 1)
WHOLE = Window(FIRST, date(2024, 6, 28))
FAILED = ReportFailed("It failed.")
CANCELLED, TOO_LARGE, TOO_LATE, REFUSED, NO_ROOM, UNAVAILABLE, NOT_MADE = FailureReason
TOO_LONG = QueryRefused((Problem(Code.RANGE_TOO_LONG, (), "It is too long."),))


def make_session() -> Session:
    """A session of a service that takes 180 days in one report until it says otherwise."""
    return Session(Settings("https://vendor.example", PrivateKey("key", "secret")))


def days(window: Window) -> list[date]:
    """Each day of a window."""
    return [window.start + timedelta(number) for number in range(window.days)]


def ignore(event: Event) -> None:
    """Not what these tests look at."""


def is_bad(window: Window, bad: set[int]) -> bool:
    """Whether a window has one of these days, counted from the first."""
    return any(window.start <= FIRST + timedelta(day) <= window.end for day in bad)


@given(bad=st.sets(st.integers(0, 179), max_size=6), longest=st.none() | st.integers(31, 90), months=st.booleans())
def test_each_day_is_read_or_given_up_once_and_in_order(bad: set[int], longest: int | None, months: bool) -> None:
    """Whatever fails, and also where the service takes fewer days; `count` is how many windows it took."""
    bisection = Bisection((WHOLE,), months=months)
    ended: list[Window] = []
    for window in bisection:
        if longest is not None and window.days > longest:
            assert bisection.split(window, TOO_LONG, ignore)
        elif not is_bad(window, bad) or not bisection.split(window, FAILED, ignore):
            ended.append(window)
    assert [day for window in ended for day in days(window)] == days(WHOLE)
    assert bisection.count == len(ended)
    assert not months or {window.start.day for window in ended} == {1}
    if len(bad) <= 2 and not months:
        assert all(window.days == 1 for window in ended if is_bad(window, bad))


def test_what_is_halved_is_told_with_where_and_why() -> None:
    """The event names the window, the first day of its later half, and the failure; then both halves are read."""
    told: list[Event] = []
    bisection = Bisection((WHOLE,), months=False)
    windows = iter(bisection)
    assert bisection.split(next(windows), FAILED, told.append)
    assert told == [Bisected(WHOLE.start, WHOLE.end, date(2024, 3, 31), str(FAILED))]
    assert [str(window) for window in windows] == ["2024-01-01..2024-03-30", "2024-03-31..2024-06-28"]


def test_a_service_whose_every_report_fails_is_asked_for_few() -> None:
    """After sixteen failures nothing is halved any more, and what is left is tried once as it is."""
    bisection = Bisection((WHOLE,), months=False)
    read = [window for window in bisection if not bisection.split(window, FAILED, ignore)]
    assert sum(window.days for window in read) == WHOLE.days
    assert len(read) == 12, "eleven halvings and five single days are sixteen failures"
    assert read[-1].days == 90


def test_a_month_is_not_cut_where_rows_are_of_months() -> None:
    """Nor is a window that is refused."""
    january = Window(FIRST, date(2024, 1, 31))
    bisection = Bisection((january,), months=True)
    assert list(bisection) == [january]
    assert not bisection.split(january, TOO_LONG, ignore)
    assert not bisection.split(january, FAILED, ignore)


def failed(reason: FailureReason) -> ReportFailed:
    """The failure of a report for this reason."""
    error = reason.error(reason.sentence)
    error.reason = reason.value
    return error


@pytest.mark.parametrize(
    "error",
    [
        *(AccessError("No."), AskLost("Lost."), UsageError("No."), StorageError("Full.")),
        *map(failed, (CANCELLED, NO_ROOM, UNAVAILABLE, REFUSED)),
    ],
)
def test_an_error_that_a_shorter_window_would_meet_too_splits_nothing(error: ReelportError) -> None:
    """Only reports of too many days are cut, and failed ones that shorter windows may spare it."""
    bisection = Bisection((WHOLE,), months=False)
    assert not bisection.split(WHOLE, error, ignore)
    assert list(bisection) == [WHOLE]


@pytest.mark.parametrize("reason", [TOO_LARGE, TOO_LATE, NOT_MADE])
def test_a_report_that_less_work_may_save_is_cut(reason: FailureReason) -> None:
    """It is too large, or nobody knows why it failed: a single day may be the reason."""
    bisection = Bisection((WHOLE,), months=False)
    assert bisection.split(next(iter(bisection)), failed(reason), ignore)


@pytest.mark.parametrize(
    ("error", "hopeless"),
    [
        *((failed(reason), reason in {REFUSED, NO_ROOM, UNAVAILABLE}) for reason in FailureReason),
        (AccessError("No."), True),
        (SlotsFull("None is free."), True),
        (QueueFull("Later."), False),
        (AskLost("Lost."), False),
        (FAILED, False),
        (TOO_LONG, False),
        (QueryRefused((Problem(Code.UNKNOWN_METRIC, (), "No."),)), True),
    ],
)
def test_which_errors_the_other_windows_would_meet_too(error: ReelportError, hopeless: bool) -> None:
    """A refusal of the key or the query, a wait in vain, a platform that makes nothing; but no other failure."""
    assert is_hopeless(error) is hopeless

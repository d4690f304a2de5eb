"""Ranges that end early: windows that fail are halved, what was had is not asked for again, and when it is given up."""

from __future__ import annotations

import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.range_asks import asked, bad, days

from reelport import Client, NotFinished, Partial, QueryRefused, ReportFailed
from reelport.client.events import Bisected, Event, InWindow, Queued, WindowDone
from reelport.client.ranges.windows import Bisection, Window, is_hopeless
from reelport.client.session import Session
from reelport.client.settings.config import PrivateKey, Settings
from reelport.errors import AccessError, AskLost, Problem, QueueFull, ReelportError, SlotsFull, StorageError, UsageError
from reelport.report_details import FailureReason
from reelport.testing import Vendor
from reelport.wire import Code


def test_a_window_whose_report_fails_is_halved_down_to_a_day(vendor: Vendor, client: Client, to: Path) -> None:
    """All but the one bad day are had and kept; it is told, and the same again asks for that day alone."""
    told: list[Event] = []
    vendor.fails = bad(date(2025, 2, 10))
    with pytest.raises(Partial, match=r"here and kept; 1 can't be fetched now:\n2025-02-10\.\.2025-02-10: ") as caught:
        client.reports.run_range(asked("VIEWS"), to, progress=told.append)
    assert caught.value.exit_status == 3
    assert not to.exists()
    [kept] = to.parent.glob(".*.windows")
    assert kept.stat().st_mode & 0o077 == 0, "the rows of a target that may be private"
    halved = [event for event in told if isinstance(event, Bisected)]
    assert next((event.start, event.end, event.middle) for event in halved) == (
        date(2025, 1, 31),
        date(2025, 3, 1),
        date(2025, 2, 15),
    )
    assert 4 <= len(halved) <= 5
    assert len(vendor.asks) == 4 + 2 * len(halved)
    before = days(vendor)
    vendor.fails = 0
    client.reports.run_range(asked("VIEWS"), to)
    assert days(vendor) == sorted([*before, ("02-10", "02-10")])
    whole = client.with_options(windows=180).reports.run(asked("VIEWS"), to.with_name("whole.csv"))
    assert to.read_bytes() == whole.path.read_bytes()


@pytest.mark.long
def test_windows_that_are_kept_apart_are_resumed_too(vendor: Vendor, client: Client, to: Path) -> None:
    """Halves that are there are not asked for again, and no other query's files are taken for them."""
    folder = to.with_name("windows")
    vendor.fails = bad(date(2025, 2, 10))
    with pytest.raises(Partial, match=r"2025-02-10\.\.2025-02-10"):
        client.reports.run_range(asked("VIEWS"), folder, keep_windows=True)
    before = len(vendor.asks)
    vendor.fails = 0
    (folder / "a_b.csv.json").write_text('{"reelport": "", "report": "", "sha256": "", "query": {"metrics": 7}}')
    done = client.reports.run_range(asked("VIEWS"), folder, keep_windows=True)
    assert len(vendor.asks) == before + 1
    assert done.windows[0].path.name == "2025-01-01_2025-01-30.csv"
    client.reports.run_range(asked("TIME_WATCHED_SECONDS"), folder, keep_windows=True)
    assert len(vendor.asks) == before + 1 + 4


@pytest.mark.long
def test_another_query_s_windows_are_not_taken_for_its_own(vendor: Vendor, client: Client, to: Path) -> None:
    """Those that an incomplete range left beside the target are replaced; their reports are not asked for again."""
    vendor.fails = bad(date(2025, 2, 10))
    with pytest.raises(Partial):
        client.reports.run_range(asked("VIEWS"), to)
    vendor.fails, before = 0, len(vendor.asks)
    client.reports.run_range(asked("TIME_WATCHED_SECONDS"), to)
    assert len(vendor.asks) == before + 4
    for query in (asked("TIME_WATCHED_SECONDS"), asked("VIEWS")):
        client.reports.run_range(query, to)
        whole = client.with_options(windows=180).reports.run(query, to.with_name("whole.csv"))
        assert to.read_bytes() == whole.path.read_bytes()


def test_a_report_that_fails_once_costs_one_halving(vendor: Vendor, client: Client, to: Path) -> None:
    """Even a range of one window is halved, where its halves can be merged; else the failure is told."""
    vendor.fails = 1
    client.reports.run_range(asked("VIEWS", end=date(2025, 1, 30)), to)
    assert days(vendor) == [("01-01", "01-15"), ("01-01", "01-30"), ("01-16", "01-30")]
    vendor.fails = 1
    with pytest.raises(ReportFailed):
        client.reports.run_range(asked("LIVE_VIEWERS", end=date(2025, 1, 30)), to)


@pytest.mark.long
def test_a_vendor_whose_every_report_fails_is_not_asked_without_end(vendor: Vendor, client: Client, to: Path) -> None:
    """Halving is bounded; where no window is had the error is the failure itself."""
    vendor.fails = 10_000
    with pytest.raises(ReportFailed):
        client.reports.run_range(asked("VIEWS", end=date(2025, 3, 1)), to)
    assert len(vendor.asks) <= 2 * 34
    assert not to.exists()


def test_an_error_that_all_windows_share_ends_the_range(vendor: Vendor, to: Path) -> None:
    """A key that is refused is told once, and no window is tried after it."""
    with Client(vendor.url, vendor.key, "wrong-secret", ledger=False) as client, pytest.raises(AccessError):
        client.with_options(windows=10).reports.run_range(asked("VIEWS"), to)
    assert vendor.asks == []
    assert list(to.parent.iterdir()) == []


def estimate_deadline(least: float, folder: Path) -> float:
    """So many seconds, or what ten reports take where this machine is slow."""
    began = time.monotonic()
    with Vendor() as vendor, Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        client.reports.run(asked("VIEWS", "DAY", end=date(2025, 1, 2)), folder / "probe.csv")
    return max(least, 10 * (time.monotonic() - began))


def test_windows_do_not_wait_for_a_slot_one_after_the_other(
    vendor: Vendor, client: Client, to: Path, tmp_path: Path
) -> None:
    """Where two reports hang, the next windows wait for a slot as long as one may, and the others not at all."""
    vendor.makes_in = 3600.0
    told: list[Event] = []
    hasty = client.with_options(windows=5).reports
    deadline = estimate_deadline(2.0, tmp_path)
    with pytest.raises(NotFinished, match="still IN_PROGRESS") as caught:
        hasty.run_range(asked("VIEWS", "DAY"), to, deadline=deadline, progress=told.append)
    waited = {event.start for event in told if isinstance(event, InWindow) and isinstance(event.event, Queued)}
    assert len(waited) <= 3, "of 24 windows 22 got no slot, and nearly all of them are not kept waiting for it"
    assert caught.value.token
    assert len(vendor.asks) == 2


def test_windows_that_are_had_are_not_asked_for_again(vendor: Vendor, client: Client, to: Path, tmp_path: Path) -> None:
    """Stopped by its deadline after two windows, the same range takes up the third and asks for the last alone."""

    def slow_down(event: Event) -> None:
        if isinstance(event, WindowDone) and event.done == 2:
            vendor.makes_in = 3600.0

    one_by_one = client.with_options(slots=1).reports
    deadline = estimate_deadline(4.0, tmp_path)
    with pytest.raises(Partial, match="Of 4 windows, 2 are here") as caught:
        one_by_one.run_range(asked("VIEWS", "DAY"), to, deadline=deadline, progress=slow_down)
    assert caught.value.token
    assert "still IN_PROGRESS" in str(caught.value)
    vendor.makes_in = 0.0
    one_by_one.run_range(asked("VIEWS", "DAY"), to)
    assert len(vendor.asks) == 4
    assert to.read_text().count("\n") == 121


FIRST = date(2024, 1, 1)
WHOLE = Window(FIRST, date(2024, 6, 28))
FAILED = ReportFailed("It failed.")
CANCELLED, TOO_LARGE, TOO_LATE, REFUSED, NO_ROOM, UNAVAILABLE, NOT_MADE = FailureReason
TOO_LONG = QueryRefused((Problem(Code.RANGE_TOO_LONG, (), "It is too long."),))


def make_session() -> Session:
    """A session of a service that takes 180 days in one report until it says otherwise."""
    return Session(Settings("https://vendor.example", PrivateKey("key", "secret")))


def days_of(window: Window) -> list[date]:
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
    assert [day for window in ended for day in days_of(window)] == days_of(WHOLE)
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

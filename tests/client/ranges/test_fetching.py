"""Ranges that come to an end early: windows that fail are halved, and those that were had are not asked for again."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest
from tests.client.range_asks import asked, bad, days

from reelport import AccessError, Client, NotFinished, Partial, ReportFailed
from reelport.client.events import Bisected, Event, InWindow, Queued, WindowDone
from reelport.testing import Vendor


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

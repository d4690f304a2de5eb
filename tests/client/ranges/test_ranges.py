"""Windows cover a range; a range at another vendor is cut into them, merged in order, and foretold by a plan."""

from __future__ import annotations

import asyncio
import json
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import thin_out
from tests.client.range_asks import END, START, asked, days

from reelport import Client, MergeRefused, QueryRefused, UsageError
from reelport.client.client import AsyncClient
from reelport.client.events import Event, InWindow, Merged, Merging, WindowDone
from reelport.client.ranges.plan import MergeRule, Standing
from reelport.client.ranges.windows import Window, cut, halve, split_by_existing
from reelport.testing import Vendor


def in_order(csv: bytes, width: int) -> list[str]:
    """The lines of a file of plain cells, in the order of their first cells, empty ones last."""
    header, *rows = csv.decode().splitlines()
    return [header, *sorted(rows, key=lambda row: [(cell == "", cell.encode()) for cell in row.split(",")[:width]])]


@pytest.mark.parametrize(
    ("metrics", "dimensions"),
    thin_out(
        [
            ("VIEWS", "DAY"),
            ("VIEWS TIME_WATCHED_SECONDS", "PLAYER_ID DAY"),
            ("FILL_RATE", "VISITOR_COUNTRY"),
            ("NO_AD_RATE", ""),
        ],
        2,
    ),
)
def test_windows_come_to_the_answer_over_the_whole_range(
    vendor: Vendor, client: Client, to: Path, metrics: str, dimensions: str
) -> None:
    """Day by day, in order, added up or computed anew: the rows of one report, in the order of their cells."""
    query = asked(metrics, dimensions)
    done = client.reports.run_range(query, to)
    assert len(vendor.asks) == 4
    whole = client.with_options(windows=180).reports.run(query, to.with_name("whole.csv"))
    plain = to.with_name("whole.csv").read_bytes().replace(b'"Caf\xc3\xa9, ""\xc3\xa9t\xc3\xa9"""', b"Cafe")
    assert to.read_text(encoding="utf-8").replace('"Café, ""été"""', "Cafe").splitlines() == in_order(
        plain, len(query.dimensions)
    )
    assert done.rows == whole.rows
    assert len(done.windows) == 4
    assert sorted(path.name for path in to.parent.iterdir()) == [
        "views.csv",
        "views.csv.json",
        "whole.csv",
        "whole.csv.json",
    ]


def test_the_sidecar_names_the_windows(vendor: Vendor, client: Client, to: Path) -> None:
    """Whoever reads it knows what the file was made of: each window's days, report, times, bytes and hash."""
    done = client.reports.run_range(asked("FILL_RATE"), to)
    said = json.loads(to.with_name("views.csv.json").read_text())
    assert said["query"] == asked("FILL_RATE").to_wire()
    assert (said["sha256"], said["bytes"], said["rows"]) == (done.sha256, done.bytes, done.rows)
    assert said["merged"] == "summed"
    assert said["asked_beside"] == ["NB_IMPRESSION", "SELLABLE_INVENTORY"]
    assert [(each["start"], each["end"]) for each in said["windows"]] == [
        ("2025-01-01", "2025-01-30"),
        ("2025-01-31", "2025-03-01"),
        ("2025-03-02", "2025-03-31"),
        ("2025-04-01", "2025-04-30"),
    ]
    for each in said["windows"]:
        assert each["report"]
        assert len(each["sha256"]) == 64
        assert {"asked", "finished", "downloaded", "bytes", "rows", "proof"} <= each.keys()
    assert vendor.secret not in json.dumps(said)


def test_a_merged_file_is_complete_up_to_the_first_day_of_its_windows(vendor: Vendor, client: Client, to: Path) -> None:
    """Each window says its own; where one says nothing, nothing is known of the whole."""
    days = {"2025-01-01": date(2025, 3, 31), "2025-01-31": date(2025, 2, 9)}
    vendor.last_complete_day = lambda wire: days.get(wire["startDate"], date(2025, 4, 1))
    done = client.reports.run_range(asked("VIEWS"), to)
    said = json.loads(to.with_name("views.csv.json").read_text())
    assert (done.last_complete_day, said["last_complete_day"]) == (date(2025, 2, 9), "2025-02-09")
    assert [each["last_complete_day"] for each in said["windows"]] == ["2025-03-31", "2025-02-09"] + ["2025-04-01"] * 2
    vendor.last_complete_day = lambda wire: days.get(wire["startDate"])
    apart = client.reports.run_range(asked("VIEWS"), to.with_name("w"), keep_windows=True, fresh=True)
    assert apart.last_complete_day is None


def test_what_cannot_be_merged_is_refused_before_anything_is_asked(vendor: Vendor, client: Client, to: Path) -> None:
    """Distinct viewers over four windows: no report is asked for; as windows of their own they may be had."""
    query = asked("LIVE_VIEWERS")
    with pytest.raises(MergeRefused, match="Add DAY or MONTH"):
        client.reports.run_range(query, to)
    with pytest.raises(QueryRefused):
        client.reports.run_range(query.within(END, START), to)
    with pytest.raises(MergeRefused, match="NEW_METRIC is not known to this version"):
        client.reports.run_range(asked("NEW_METRIC"), to)
    assert vendor.asks == []
    done = client.reports.run_range(query, to.with_name("windows"), keep_windows=True)
    assert [each.path.name for each in done.windows] == [
        "2025-01-01_2025-01-30.csv",
        "2025-01-31_2025-03-01.csv",
        "2025-03-02_2025-03-31.csv",
        "2025-04-01_2025-04-30.csv",
    ]
    assert all(each.path.read_bytes().startswith(b"live_viewers\n") for each in done.windows)
    assert done.path == to.with_name("windows")
    with pytest.raises(UsageError, match="kept apart"):
        done.table()
    assert len(list(done.windows[0].table().rows())) == 1


def test_a_range_of_one_window_is_one_report(vendor: Vendor, client: Client, to: Path) -> None:
    """Nothing is merged, so nothing is refused."""
    done = client.reports.run_range(asked("LIVE_VIEWERS", end=date(2025, 1, 30)), to)
    assert days(vendor) == [("01-01", "01-30")]
    assert [each.path for each in done.windows] == [to]


def test_no_more_reports_run_than_there_are_slots(vendor: Vendor, client: Client, to: Path) -> None:
    """Two at a time, and the vendor, who refuses a third, refuses none."""
    vendor.makes_in = 0.1
    client.reports.run_range(asked("VIEWS", "DAY"), to)
    assert len(vendor.asks) == 4
    assert vendor.refused == 0


def test_a_month_is_never_cut(vendor: Vendor, client: Client, to: Path) -> None:
    """Windows end with months, or are refused where they are too short for one."""
    client.with_options(windows=60).reports.run_range(asked("LIVE_VIEWERS", "MONTH"), to)
    assert days(vendor) == [("01-01", "02-28"), ("03-01", "03-31"), ("04-01", "04-30")]
    assert [line[:7] for line in to.read_text().splitlines()[1:]] == ["2025-01", "2025-02", "2025-03", "2025-04"]
    with pytest.raises(UsageError, match="at least 31 days"):
        client.reports.run_range(asked("VIEWS", "MONTH"), to)


def test_events_say_which_window_they_are_of(vendor: Vendor, client: Client, to: Path) -> None:
    """One listener hears of each window under its days, how many are done, and when all are merged."""
    told: list[Event] = []
    client.reports.run_range(asked("VIEWS", "DAY"), to, progress=told.append)
    assert {(event.start, event.end) for event in told if isinstance(event, InWindow)} == {
        (date.fromisoformat(f"2025-{start}"), date.fromisoformat(f"2025-{end}")) for start, end in days(vendor)
    }
    assert [(event.done, event.windows) for event in told if isinstance(event, WindowDone)] == [
        (1, 4),
        (2, 4),
        (3, 4),
        (4, 4),
    ]
    assert told[-2:] == [Merging(4), Merged(4, to.stat().st_size, 120)]


def test_the_asyncio_twin_comes_to_the_same_file(vendor: Vendor, client: Client, to: Path) -> None:
    """Same windows, same bytes, same plan."""
    query = asked("VIEWS", "PLAYER_ID DAY")
    client.reports.run_range(query, to)

    async def go() -> None:
        async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=False) as twin:
            reports = twin.with_options(windows=30).reports
            await reports.run_range(query, to.with_name("twin.csv"))
            assert len((await reports.plan(query)).windows) == 4

    asyncio.run(go())
    assert to.read_bytes() == to.with_name("twin.csv").read_bytes()


def test_a_plan_says_what_is_done_and_calls_nothing(vendor: Vendor, client: Client, to: Path) -> None:
    """Seven windows of three years at two by two are eight hours at worst; what the ledger has is less to do."""
    three_years = asked("VIEWS", "DAY", date(2022, 1, 1), date(2024, 12, 31))
    plan = client.with_options(windows=180).reports.plan(three_years)
    assert (len(plan.windows), plan.slots, plan.way) == (7, 2, MergeRule.APPENDED)
    assert plan.longest.total_seconds() == 8 * 3600
    assert client.reports.plan(asked("LIVE_VIEWERS")).refusal
    assert vendor.grants == []
    vendor.makes_in = 600
    with pytest.raises(Exception, match="still IN_PROGRESS"):
        client.reports.run(asked("VIEWS", "DAY").within(START, date(2025, 1, 30)), to, deadline=1e-9)
    vendor.makes_in = 0
    client.reports.run(asked("VIEWS", "DAY").within(date(2025, 1, 31), date(2025, 3, 1)), to)
    plan = client.reports.plan(asked("VIEWS", "DAY"))
    assert [each.standing for each in plan.windows] == [
        Standing.MAKING,
        Standing.HERE,
        Standing.TO_ASK,
        Standing.TO_ASK,
    ]
    assert plan.to_make == 3
    to.unlink()
    assert client.reports.plan(asked("VIEWS", "DAY")).windows[1].standing is Standing.MADE


@pytest.mark.parametrize("keep_windows", [False, True])
def test_a_range_of_too_many_windows_is_refused_before_anything_is_asked_for(
    vendor: Vendor, client: Client, to: Path, keep_windows: bool
) -> None:
    """A mistyped year would take thousands of reports: their number is told, and how to have them all the same."""
    said = r"0001-01-01 to .* takes 24,\d{3} reports, and a range may take 100\. .*: --max-windows 24\d{3} \(with_opt"
    with pytest.raises(UsageError, match=said):
        client.reports.run_range(asked("VIEWS", start=date.min), to, keep_windows=keep_windows)
    with pytest.raises(UsageError, match="takes 4 reports, and a range may take 3"):
        client.with_options(max_windows=3).reports.run_range(asked("VIEWS"), to, keep_windows=keep_windows)
    assert vendor.asks == []
    client.with_options(max_windows=4).reports.run_range(asked("VIEWS"), to, keep_windows=keep_windows)
    assert len(vendor.asks) == 4


any_day = st.dates(date(1999, 12, 1), date(2032, 3, 1))


@st.composite
def ranges(draw: st.DrawFn) -> Window:
    """Any range of up to four years, its ends anywhere in a month."""
    start = draw(any_day)
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

"""A range at another vendor: windows two at a time, resumed one by one, halved where one fails, merged in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from reelport import (
    AccessError,
    Client,
    MergeRefused,
    NotFinished,
    Partial,
    QueryRefused,
    ReportFailed,
    ReportQuery,
    UsageError,
)
from reelport.client.client import AsyncClient
from reelport.client.events import Bisected, Event, InWindow, Merging, WindowDone
from reelport.client.ranges.plan import Standing
from reelport.client.ranges.rules import Way
from reelport.testing import Vendor

START, END = date(2025, 1, 1), date(2025, 4, 30)


def asked(metrics: str, dimensions: str = "", start: date = START, end: date = END) -> ReportQuery:
    """A query of 120 days from names set apart by spaces."""
    return ReportQuery.of(metrics.split(), dimensions.split(), start, end)


def days(vendor: Vendor) -> list[tuple[str, str]]:
    """The ranges that were asked for, the earliest first."""
    return sorted((wire["startDate"][5:], wire["endDate"][5:]) for wire in vendor.asks)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A vendor of reports of 180 days, two at a time, that makes a report in no time."""
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def client(vendor: Vendor, tmp_path: Path) -> Iterator[Client]:
    """A client with windows of 30 days and a ledger of its own."""
    with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
        yield client.with_options(windows=30)


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A target in an empty folder."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "views.csv"


def in_order(csv: bytes, width: int) -> list[str]:
    """The lines of a file of plain cells, in the order of their first cells, empty ones last."""
    header, *rows = csv.decode().splitlines()
    return [header, *sorted(rows, key=lambda row: [(cell == "", cell.encode()) for cell in row.split(",")[:width]])]


@pytest.mark.parametrize(
    ("metrics", "dimensions"),
    [
        ("VIEWS", "DAY"),
        ("VIEWS TIME_WATCHED_SECONDS", "PLAYER_ID DAY"),
        ("FILL_RATE", "VISITOR_COUNTRY"),
        ("ECPM_EUR", ""),
    ],
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


def test_what_cannot_be_merged_is_refused_before_anything_is_asked(vendor: Vendor, client: Client, to: Path) -> None:
    """Distinct viewers over four windows: no report is asked for; as windows of their own they may be had."""
    query = asked("LIVE_VIEWERS")
    with pytest.raises(MergeRefused, match="Add DAY or MONTH"):
        client.reports.run_range(query, to)
    with pytest.raises(QueryRefused):
        client.reports.run_range(query.within(END, START), to)
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


def bad(*bad_days: date) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an ask covers one of these days, whose reports fail."""
    return lambda wire: any(wire["startDate"] <= day.isoformat() <= wire["endDate"] for day in bad_days)


def test_a_window_whose_report_fails_is_halved_down_to_a_day(vendor: Vendor, client: Client, to: Path) -> None:
    """All but the one bad day are had and kept; it is told, and the same again asks for that day alone."""
    told: list[Event] = []
    vendor.fails = bad(date(2025, 2, 10))
    with pytest.raises(Partial, match=r"here and kept; 1 can't be had now:\n2025-02-10\.\.2025-02-10: ") as caught:
        client.reports.run_range(asked("VIEWS"), to, progress=told.append)
    assert caught.value.exit_status == 3
    assert not to.exists()
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


def test_windows_do_not_wait_for_a_slot_one_after_the_other(vendor: Vendor, client: Client, to: Path) -> None:
    """Where two reports hang, the next windows wait for a slot as long as one may, and the others not at all."""
    vendor.makes_in = 3600.0
    began = time.monotonic()
    with pytest.raises(NotFinished, match="still IN_PROGRESS") as caught:
        client.with_options(windows=5).reports.run_range(asked("VIEWS", "DAY"), to, deadline=0.5)
    assert time.monotonic() - began < 4  # of 24 windows 22 got no slot
    assert caught.value.token
    assert len(vendor.asks) == 2


def test_windows_that_are_had_are_not_asked_for_again(vendor: Vendor, client: Client, to: Path) -> None:
    """Stopped by its deadline after two windows, the same range takes up the third and asks for the last alone."""

    def slow_down(event: Event) -> None:
        if isinstance(event, WindowDone) and event.done == 2:
            vendor.makes_in = 3600.0

    one_by_one = client.with_options(slots=1).reports
    with pytest.raises(Partial, match="2 of 4 windows are here") as caught:
        one_by_one.run_range(asked("VIEWS", "DAY"), to, deadline=0.5, progress=slow_down)
    assert caught.value.token
    assert "still IN_PROGRESS" in str(caught.value)
    vendor.makes_in = 0.0
    one_by_one.run_range(asked("VIEWS", "DAY"), to)
    assert len(vendor.asks) == 4
    assert to.read_text().count("\n") == 121


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
    assert told[-1] == Merging(4)


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
    assert (len(plan.windows), plan.slots, plan.way) == (7, 2, Way.APPENDED)
    assert plan.longest.total_seconds() == 8 * 3600
    assert client.reports.plan(asked("LIVE_VIEWERS")).refusal
    assert vendor.grants == []
    vendor.makes_in = 600
    with pytest.raises(Exception, match="still IN_PROGRESS"):
        client.reports.run(asked("VIEWS", "DAY").within(START, date(2025, 1, 30)), to, deadline=0)
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


def command(vendor: Vendor, to: Path, **environment: str) -> subprocess.Popen[str]:
    """`reelport report run` of 120 days in windows of 30, with a home beside the target's folder."""
    ours = {
        "REELPORT_URL": vendor.url,
        "REELPORT_API_KEY": vendor.key,
        "REELPORT_API_SECRET": vendor.secret,
        "REELPORT_HOME": str(to.parent.with_name("home")),
        "REELPORT_WINDOW_DAYS": "30",
    }
    words = ["--metrics", "FILL_RATE", "--dimensions", "VISITOR_COUNTRY", "--start", str(START), "--end", str(END)]
    return subprocess.Popen(
        [sys.executable, "-m", "reelport", "report", "run", *words, "-o", str(to)],
        env={**os.environ, **ours, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("step", ["client-requested", "client-verified", "client-merged", "client-range"])
def test_a_range_that_was_killed_goes_on(vendor: Vendor, to: Path, step: str) -> None:
    """Killed in a window, between two, in the merge or after it: the same command ends with the file."""
    once = to.parent.with_name("once")
    once.touch()
    # One at a time: of a window that is being asked for, a kill loses the answer.
    killed = command(vendor, to, REELPORT_STOP_AT=f"{step}:{once}", REELPORT_SLOTS="1")
    _, said = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, said
    _, said = command(vendor, to).communicate(timeout=60)
    assert len(vendor.asks) == 4, said
    assert to.read_text(encoding="utf-8").startswith("visitor_country,fill_rate\n")
    assert sorted(path.name for path in to.parent.iterdir()) == ["views.csv", "views.csv.json"]


def test_ctrl_c_leaves_windows_that_the_same_command_goes_on_with(vendor: Vendor, to: Path) -> None:
    """Interrupted while two windows are waited for, the command ends at once with status 6 and says how to go on."""
    vendor.makes_in = 600.0
    process = command(vendor, to)
    assert process.stderr is not None
    while len(vendor.asks) < 2 or vendor.looks < 4:
        assert process.poll() is None
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 6, said
    assert "Take it up again: reelport report run --metrics FILL_RATE" in said
    assert time.monotonic() - began < 5
    vendor.makes_in = 0.0
    done = command(vendor, to)
    assert done.communicate(timeout=60)[1].count("taking up report") == 2
    assert len(vendor.asks) == 4
    assert to.exists()


def test_two_processes_at_once_end_with_the_same_file(vendor: Vendor, to: Path) -> None:
    """Started together for one target they share slots and reports; nothing of theirs is left beside the file."""
    vendor.makes_in = 0.3
    both = [command(vendor, to), command(vendor, to)]
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert len(vendor.asks) == 4
    assert vendor.refused == 0
    assert sorted(path.name for path in to.parent.iterdir()) == ["views.csv", "views.csv.json"]


def test_a_command_whose_range_is_partly_done_ends_with_status_3(vendor: Vendor, to: Path) -> None:
    """It names the window that is lacking and the command that goes on."""
    vendor.fails = bad(date(2025, 2, 10))
    process = command(vendor, to)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert "2025-02-10..2025-02-10: " in said
    assert "Take it up again: reelport report run --metrics FILL_RATE" in said
    assert not to.exists()


@pytest.mark.parametrize(("more", "status"), [((), 0), (("--json",), 0), (("--metrics", "LIVE_VIEWERS"), 5)])
def test_the_command_plan_prints_windows_and_calls_nothing(vendor: Vendor, more: tuple[str, ...], status: int) -> None:
    """A line a window on stdout, the rest on stderr; status 5 with the reason where windows can't be merged."""
    words = ["--metrics", "VIEWS", "--start", "2023-01-01", "--end", "2025-12-31", *more]
    done = subprocess.run(
        [sys.executable, "-m", "reelport", "plan", *words],
        env={**os.environ, "REELPORT_URL": vendor.url, "REELPORT_API_KEY": "key", "REELPORT_API_SECRET": "secret-7c41"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    if more[:1] == ("--json",):
        found = json.loads(done.stdout)
        assert [window["days"] for window in found["windows"]] == [180] * 6 + [16]
        assert (found["merge"], found["longest_seconds"], found["refusal"]) == ("summed", 8 * 3600, None)
    else:
        assert done.stdout.splitlines()[1].split("\t")[:3] == ["1", "2023-01-01", "2023-06-29"]
        assert "1,096 days in 7 windows, 2 at a time; 0 here already." in done.stderr
        assert ("LIVE_VIEWERS counts what is different" in done.stderr) == (status == 5)
    assert vendor.grants == []

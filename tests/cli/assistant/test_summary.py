"""Summaries are as exact as their reports: sums by hand, rates from their parts, and no number that would be wrong."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from reelport import Client, ReportQuery
from reelport.catalog import Dimension, Metric
from reelport.cli.assistant.summary import summarize
from reelport.client.results.tables import Table
from reelport.errors import UsageError
from reelport.testing import Vendor

RATES = """\
day,video_title,time_watched_seconds,views,average_watch_time_sec
2026-01-01,amber,10,1,10.00
2026-01-01,birch 'x',90,89,1.01
2026-01-02,amber,7,0,
2026-01-02,cobalt,,,
"""


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A report of which the average of rates is far from the rate of sums."""
    return open_table(tmp_path, RATES)


def open_table(folder: Path, csv: str) -> Table:
    (folder / "report.csv").write_text(csv, "utf-8")
    return Table.of(folder / "report.csv")


def test_a_rate_is_computed_from_its_parts_and_never_averaged(table: Table) -> None:
    """107 seconds of 90 views are 1.19 a view; the mean of the rows would be 5.5."""
    found = summarize(table)
    assert found["totals"] == {"TIME_WATCHED_SECONDS": "107", "VIEWS": "90", "AVERAGE_WATCH_TIME_SEC": "1.19"}
    assert found["not_added_up"] == {}
    assert found["by_day"] == {
        "days": 2,
        "shown": [
            {"day": "2026-01-01", "TIME_WATCHED_SECONDS": "100", "VIEWS": "90", "AVERAGE_WATCH_TIME_SEC": "1.11"},
            {"day": "2026-01-02", "TIME_WATCHED_SECONDS": "7", "VIEWS": "0"},
        ],
    }


def test_the_largest_groups_come_first_and_no_more_than_the_limit(table: Table) -> None:
    """By views the second title leads; a group without a number is counted, and not shown as 0."""
    found = summarize(table, metric="views", limit=1)["top"]
    assert (found["by"], found["groups"], found["groups_without_number"]) == (("VIDEO_TITLE",), 3, 1)
    assert [row["VIDEO_TITLE"] for row in found["shown"]] == ["birch 'x'"]
    assert [row["VIDEO_TITLE"] for row in summarize(table)["top"]["shown"]] == ["birch 'x'", "amber"]


def test_of_days_the_last_are_given(table: Table) -> None:
    """A short answer has the newest days, and says how many there are."""
    found = summarize(table, days=1)["by_day"]
    assert (found["days"], [row["day"] for row in found["shown"]]) == (2, ["2026-01-02"])


@pytest.mark.parametrize(
    ("csv", "metric", "reason"),
    [
        (
            "video_title,average_watch_time_sec\na,1.00\nb,3.00\n",
            "AVERAGE_WATCH_TIME_SEC",
            "the report lacks the numbers that it is made of",
        ),
        ("content_tag,views\na,1\nb,1\n", "VIEWS", "One fact may stand in several rows"),
        ("video_title,live_viewers\na,1\nb,1\n", "LIVE_VIEWERS", "One viewer may be counted in several rows"),
        ("day,storage_used_bytes\n2026-01-01,5\n2026-01-02,6\n", "STORAGE_USED_BYTES", "doesn't add up over days"),
        ("colour,views\nred,1\nblue,1\n", "VIEWS", "a column COLOUR that is not in the catalog"),
    ],
)
def test_what_does_not_add_up_has_a_reason_and_no_number(tmp_path: Path, csv: str, metric: str, reason: str) -> None:
    """A rate without its parts, many values of one fact, different viewers, a stock over days, an unknown column."""
    found = summarize(open_table(tmp_path, csv))
    assert found["totals"] == {}
    assert reason in found["not_added_up"][metric]


LACKING = "day,video_title,live_viewers,views,view_through_rate\n"


def test_nothing_is_ranked_by_a_metric_that_some_groups_lack(tmp_path: Path) -> None:
    """The title of a single row would lead alone; the answer says why there is no order, and what to ask instead."""
    rows = "2026-01-01,a,5,10,0.90\n2026-01-02,a,6,10,0.80\n2026-01-01,b,1,9,0.10\n"
    table = open_table(tmp_path, LACKING + rows)
    top = summarize(table, metric="view_through_rate")["top"]
    assert (top["groups"], top["shown"]) == (2, [])
    assert top["not_ranked"].endswith("Ask again without DAY.")
    by_default = summarize(table)["top"]
    assert (by_default["metric"], [row["VIDEO_TITLE"] for row in by_default["shown"]]) == ("VIEWS", ["a", "b"])


def test_what_to_ask_beside_a_rate_is_named(tmp_path: Path) -> None:
    """A rate that has parts can be computed once they are in the report."""
    rows = "2026-01-01,5.00\n2026-01-02,6.00\n"
    found = summarize(open_table(tmp_path, f"day,average_watch_time_sec\n{rows}"))
    wanted = "Ask for TIME_WATCHED_SECONDS and VIEWS beside it."
    assert found["not_added_up"]["AVERAGE_WATCH_TIME_SEC"].endswith(wanted)
    tags = summarize(open_table(tmp_path, "content_tag,average_watch_time_sec\na,5.00\nb,6.00\n"))
    assert tags["not_added_up"]["AVERAGE_WATCH_TIME_SEC"].endswith("Ask again without CONTENT_TAG.")


def test_months_are_given_as_days_are(tmp_path: Path) -> None:
    """Rows by month alone are no totals only; a rate of one row is the report's own."""
    found = summarize(open_table(tmp_path, "month,views,view_through_rate\n2026-01,5,0.10\n2026-02,7,0.20\n"))
    assert found["totals"] == {"VIEWS": "12"}
    assert found["by_month"]["months"] == 2
    assert found["by_month"]["shown"][1] == {"month": "2026-02", "VIEWS": "7", "VIEW_THROUGH_RATE": "0.20"}


def test_a_stock_adds_up_within_a_day(tmp_path: Path) -> None:
    """What two channels store on one day is a sum; over days there is none."""
    rows = "2026-01-01,a,5\n2026-01-01,b,7\n2026-01-02,a,6\n"
    found = summarize(open_table(tmp_path, f"day,video_title,storage_used_bytes\n{rows}"))
    assert found["totals"] == {}
    assert [row["STORAGE_USED_BYTES"] for row in found["by_day"]["shown"]] == ["12", "6"]


def test_hours_add_up_to_days(tmp_path: Path) -> None:
    """A report by hour is summed by day, with rates of the day's sums; its rows stay out of the largest groups."""
    rows = "2026-01-01T00:00:00Z,10,1,10.00\n2026-01-01T23:00:00Z,2,3,0.67\n2026-01-02T00:00:00Z,5,5,1.00\n"
    found = summarize(open_table(tmp_path, f"hour,time_watched_seconds,views,average_watch_time_sec\n{rows}"))
    assert [tuple(row.values()) for row in found["by_day"]["shown"]] == [
        ("2026-01-01", "12", "4", "3.00"),
        ("2026-01-02", "5", "5", "1.00"),
    ]
    assert "top" not in found


def test_sums_are_exact_beyond_what_a_float_holds(tmp_path: Path) -> None:
    """Forty digits and six decimals come out as they are."""
    rows = "a,9999999999999999999999999999999999999999\nb,1\n"
    assert summarize(open_table(tmp_path, f"video_title,views\n{rows}"))["totals"] == {"VIEWS": "1" + "0" * 40}
    money = "a,0.1\nb,0.2\n"
    found = summarize(open_table(tmp_path, f"video_title,estimated_earnings_eur\n{money}"))
    assert found["totals"] == {"ESTIMATED_EARNINGS_EUR": "0.3"}


def test_long_and_steering_texts_are_shortened_and_groups_stay_apart(tmp_path: Path) -> None:
    """Titles that differ in their end alone are two groups; no answer has control characters."""
    rows = "".join(f"\x1b[2J{'x' * 300}{end},1\n" for end in "ab")
    shown = summarize(open_table(tmp_path, f"video_title,views\n{rows}"))["top"]["shown"]
    assert [row["VIEWS"] for row in shown] == ["1", "1"]
    assert all(len(row["VIDEO_TITLE"]) == 201 and row["VIDEO_TITLE"].isprintable() for row in shown)


def test_a_name_that_the_report_lacks_and_too_many_rows_are_refused(table: Table) -> None:
    """The sentence has the names that are there, or what to ask for."""
    with pytest.raises(UsageError, match="no metric 'UPLOADS', but TIME_WATCHED_SECONDS"):
        summarize(table, metric="UPLOADS")
    with pytest.raises(UsageError, match="no dimension 'HOUR', but DAY, VIDEO_TITLE"):
        summarize(table, by=["HOUR"])
    with pytest.raises(UsageError, match="fewer dimensions"):
        summarize(table, most=3)


def test_totals_are_those_of_the_report_without_dimensions(tmp_path: Path) -> None:
    """For every metric of a family: what is summed up here is what a service gives without splitting it."""
    with Vendor() as vendor, Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
        for family in {metric.family for metric in Metric}:
            metrics = [metric for metric in Metric if metric.family is family]
            days = (date(2026, 1, 1), date(2026, 1, 5))
            split = [row for row in (Dimension.DAY, Dimension.VIDEO_TITLE) if row in family.dimensions()]
            whole = client.reports.run(ReportQuery.of(metrics, [], *days))
            (expected,) = whole.tuples()
            found = summarize(client.reports.run(ReportQuery.of(metrics, split, *days)))
            names = [column.name.upper() for column in whole.columns]
            assert {*found["totals"], *found["not_added_up"]} == set(names)
            wanted = {name: str(value) for name, value in zip(names, expected, strict=True)}
            assert found["totals"] == {name: wanted[name] for name in found["totals"]}


_WITHOUT = "import sys; sys.modules['mcp'] = None\nfrom reelport.cli.main import main; main()"


def test_without_its_library_the_command_names_the_extra_to_install(tmp_path: Path) -> None:
    """Python's own sign for a library that isn't there; the client's other commands need none of it."""
    user = {"REELPORT_HOME": str(tmp_path), "REELPORT_API_KEY": "k", "REELPORT_API_SECRET": "s"}
    words = [sys.executable, "-c", _WITHOUT]
    done = subprocess.run([*words, "mcp"], env=user, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'reelport[mcp]'" in done.stderr
    assert subprocess.run([*words, "fields", "list"], env=user, capture_output=True, check=True).stdout


def test_without_a_key_the_command_ends_before_it_serves(tmp_path: Path) -> None:
    """The program that starts it sees the reason at once, and no answer of the protocol."""
    words = [sys.executable, "-m", "reelport", "mcp"]
    user = {"REELPORT_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(words, env=user, input="", capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (4, "")
    assert "REELPORT_API_KEY" in done.stderr

"""A vendor that takes fewer days in one report than others: what it says is learned once, and remembered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests import forked
from tests.client.flows.test_other_columns import WORDS, command
from tests.client.ledgers import NOW, Calendar
from tests.client.range_asks import asked, days

from reelport import Client, FewerDays, QueryRefused
from reelport.client.events import Event
from reelport.client.flows.ask import find_named_limit
from reelport.client.ledger import Ledger
from reelport.errors import Problem
from reelport.testing import Vendor

QUERY = asked("VIEWS")  # 120 days
IN_THIRTY = [("01-01", "01-30"), ("01-31", "03-01"), ("03-02", "03-31"), ("04-01", "04-30")]


@pytest.fixture
def client(vendor: Vendor, tmp_path: Path) -> Iterator[Client]:
    """A client whose days of a report are not set, of a vendor that takes 30 of them."""
    vendor.longest = 30
    with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
        yield client


def limits(told: list[Event]) -> list[int]:
    """The days that were told of."""
    return [event.days for event in told if isinstance(event, FewerDays)]


def test_a_range_is_cut_anew_by_what_the_vendor_says(vendor: Vendor, client: Client, to: Path) -> None:
    """It refuses the range as one report and names 30 days: four of 30 are had, and it is said once."""
    told: list[Event] = []
    done = client.reports.run_range(QUERY, to, progress=told.append)
    assert (len(done.windows), limits(told)) == (4, [30])
    assert (days(vendor), vendor.refused_queries) == (IN_THIRTY, 1)
    vendor.longest = 180
    whole = client.with_options(windows=180).reports.run(QUERY, to.with_name("whole.csv"))
    assert to.read_bytes() == whole.path.read_bytes()


def test_windows_in_flight_are_cut_anew(vendor: Vendor, client: Client, to: Path) -> None:
    """Two windows side by side are refused: it is said once all the same, and every day is had."""
    told: list[Event] = []
    query = asked("VIEWS", start=QUERY.start.replace(year=2024))
    client.reports.run_range(query, to, progress=told.append)
    assert (limits(told), 1 <= vendor.refused_queries <= 2) == ([30], True)
    assert sum((wire["startDate"] < wire["endDate"]) for wire in vendor.asks) == len(vendor.asks)
    vendor.longest = 999
    whole = client.with_options(windows=999).reports.run(query, to.with_name("whole.csv"))
    assert to.read_bytes() == whole.path.read_bytes()


def test_another_process_asks_right_at_once(vendor: Vendor, client: Client, to: Path, tmp_path: Path) -> None:
    """What was learned lies in the ledger, by address: nothing is refused any more, and plans know it."""
    with pytest.raises(QueryRefused, match="The period of 120 days is longer than 30"):
        client.reports.run(QUERY, to)
    assert vendor.refused_queries == 1
    with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as later:
        assert len(later.reports.plan(QUERY).windows) == 4
        later.reports.run_range(QUERY, to)
        assert (days(vendor), vendor.refused_queries) == (IN_THIRTY, 1)
    with Vendor() as other, Client(other.url, other.key, other.secret, ledger=tmp_path / "ledger.db") as elsewhere:
        assert len(elsewhere.reports.plan(QUERY).windows) == 1


def test_a_refusal_by_our_own_check_teaches_nothing(vendor: Vendor, client: Client, to: Path, tmp_path: Path) -> None:
    """More days than one report may have are refused before anything is sent, with what gets them; 180 were known."""
    told: list[Event] = []
    with pytest.raises(QueryRefused, match=r"1071 days are more than 180: .* `reports.run_range`"):
        client.reports.run(asked("VIEWS", start=QUERY.end - timedelta(1070)), to, progress=told.append)
    ledger = Ledger(tmp_path / "ledger.db")
    assert (limits(told), vendor.asks, ledger.find_day_limit(vendor.url)) == ([], [], None)


def test_a_client_without_a_ledger_learns_for_itself(vendor: Vendor, to: Path) -> None:
    """It is forgotten with the client."""
    vendor.longest = 30
    with Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        client.reports.run_range(QUERY, to)
        client.reports.run_range(QUERY, to.with_name("again.csv"))
    assert vendor.refused_queries == 1


def test_a_number_that_is_set_is_obeyed(vendor: Vendor, client: Client, to: Path) -> None:
    """It overrides what was learned, and nothing is learned beside it: the refusal names what works."""
    client.reports.run_range(QUERY, to)
    assert len(client.with_options(windows=60).reports.plan(QUERY).windows) == 2
    with pytest.raises(QueryRefused, match="--window-days 30"):
        client.with_options(windows=60).reports.run_range(QUERY, to)
    vendor.longest = 180
    client.with_options(windows=180).reports.run(QUERY, to)


def test_the_command_line_goes_on_by_itself(vendor: Vendor, tmp_path: Path) -> None:
    """One command has all rows and says once why it took more reports; the next is refused nothing."""
    vendor.longest = 30
    first = command(vendor, tmp_path, "run", *WORDS)
    assert (first.returncode, len(first.stdout.splitlines())) == (0, 61), first.stderr
    assert first.stderr.count("each report from this service asks for at most 30 days") == 1, first.stderr
    second = command(vendor, tmp_path, "run", *WORDS, "--fresh")
    assert (second.stdout, vendor.refused_queries) == (first.stdout, 1)
    assert "From now on" not in second.stderr


def test_a_report_that_is_submitted_is_not_advised_to_be_cut(vendor: Vendor, client: Client) -> None:
    """Its refusal says what can be done with one report."""
    vendor.refuses = lambda _: "No."
    with pytest.raises(QueryRefused, match=r"ask for 30 at most, or let `report run` \(run_range\) cut them"):
        client.reports.submit(QUERY)


@pytest.mark.parametrize("command", ["report run", "report submit", "sync run", "sync verify"])
def test_what_overrides_a_learned_number_is_an_option_of_each_command_that_asks(command: str) -> None:
    """`--window-days` is named by what is told, and so it is there."""
    done = forked.run(["-m", "reelport", *command.split(), "--help"])
    assert (done.returncode, "--window-days" in done.stdout) == (0, True)


def test_what_was_learned_is_tried_again_after_90_days(ledger: Ledger, calendar: Calendar) -> None:
    """A vendor may take more by then; one address says nothing of another."""
    assert ledger.find_day_limit("https://vendor.example") is None
    ledger.record_day_limit("https://vendor.example", 60)
    ledger.record_day_limit("https://vendor.example", 30)
    assert (ledger.find_day_limit("https://vendor.example"), ledger.find_day_limit("https://other.example")) == (
        30,
        None,
    )
    calendar.later(days=91)
    assert calendar.now > NOW
    assert ledger.find_day_limit("https://vendor.example") is None


@pytest.mark.parametrize(
    ("sentence", "limit"),
    [
        ("The period of 120 days is longer than 30.", 30),
        ("The date range must not exceed 90 days.", 90),
        ("Maximum range: 31 days, requested: 120 days", 31),
        ("Only a 7-day range is allowed.", 7),
        ("2025-01-01 to 2025-04-30 is more than 30 calendar days.", 30),
        ("Data is kept for 30 days.", None),
        ("Numbers older than 90 days are not available.", None),
        ("Only the last 30 days can be asked for.", None),
        ("You may ask for 5 reports per day.", None),
        ("Try again in 2 days.", None),
        ("Between 1 day and 30 days are allowed.", None),
        ("At most 200 days.", None),
        ("Error 30.", None),
        ("120 days are too many.", None),
        ("At most 3 days.", None),
        ("120 days exceeds the maximum of 3 months.", None),
        ("120 days requested, at most 1 month allowed", None),
        ("A range of 120 days is longer than 12 weeks", None),
        ("120 days is too long (error 7)", None),
        ("Rule 14: the period of 120 days is too long for your plan", None),
        ("The minimum range is 7 days", None),
        ("Ranges ending within 20 days of today are not available", None),
        ("Date range must be at least 20 days in the past", None),
        ("Your trial ends in 15 days", None),
        ("Only the first 14 days after upload are available for this metric", None),
        ("At most 60 days (30 days for MINUTE)", None),
    ],
)
def test_which_sentences_name_a_limit(sentence: str, limit: int | None) -> None:
    """One number of days below those that were asked for; not how far back there are numbers, nor when to come back."""
    assert find_named_limit(QUERY, QueryRefused((Problem("bad_request", (), sentence),))) == limit

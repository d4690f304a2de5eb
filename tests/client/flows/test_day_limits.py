"""A vendor that takes fewer days in one report than others: its refusal says what to set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import forked
from tests.client.flows.test_answers import WORDS, command
from tests.client.range_asks import asked, days

from reelport import Client, QueryRefused
from reelport.testing import Vendor

QUERY = asked("VIEWS")  # 120 days
IN_THIRTY = [("01-01", "01-30"), ("01-31", "03-01"), ("03-02", "03-31"), ("04-01", "04-30")]


@pytest.fixture
def client(vendor: Vendor, tmp_path: Path) -> Iterator[Client]:
    """A client whose days of a report are not set, of a vendor that takes 30 of them."""
    vendor.longest = 30
    with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
        yield client


def test_what_a_refusal_advises_gets_every_day(vendor: Vendor, client: Client, to: Path) -> None:
    """It names 30 days; with these, four reports are asked for and merged, and nothing is refused any more."""
    with pytest.raises(QueryRefused, match=r"The period of 120 days is longer than 30.*--window-days 30"):
        client.reports.run_range(QUERY, to)
    client.with_options(windows=30).reports.run_range(QUERY, to)
    assert (days(vendor), vendor.refused_queries) == (IN_THIRTY, 1)
    vendor.longest = 180
    whole = client.reports.run(QUERY, to.with_name("whole.csv"))
    assert to.read_bytes() == whole.path.read_bytes()


def test_the_command_line_names_its_own_option(vendor: Vendor, tmp_path: Path) -> None:
    """One command is refused with the option that helps; with it, all rows come."""
    vendor.longest = 30
    refused = command(vendor, tmp_path, "run", *WORDS)
    assert (refused.returncode, "--window-days 30" in refused.stderr) == (5, True), refused.stderr
    done = command(vendor, tmp_path, "run", *WORDS, "--window-days", "30")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 61), done.stderr


def test_a_report_that_is_submitted_is_not_advised_to_be_cut(vendor: Vendor, client: Client) -> None:
    """Its refusal says what can be done with one report."""
    vendor.refuses = lambda _: "No."
    with pytest.raises(QueryRefused, match=r"ask for 30 at most, or let `report run --window-days 30` \(run_range\)"):
        client.reports.submit(QUERY)


@pytest.mark.parametrize("command", ["report run", "report submit", "sync run", "sync verify"])
def test_what_a_refusal_advises_is_an_option_of_each_command_that_asks(command: str) -> None:
    """`--window-days` is named by what is told, and so it is there."""
    done = forked.run(["-m", "reelport", *command.split(), "--help"])
    assert (done.returncode, "--window-days" in done.stdout) == (0, True)

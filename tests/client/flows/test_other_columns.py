"""Vendors with other columns than were asked for, or fewer days in a report: both are said, and can be accepted."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests import forked
from tests.client.conftest import Time
from tests.client.ledgers import days

from reelport import Client, QueryRefused, ReportQuery
from reelport.client.flows.fetch import advise_on_days
from reelport.client.session import Session
from reelport.errors import Problem, SchemaDrift
from reelport.testing import Vendor

OTHERS = [b"views,day\n1,2026-10-01\n", b"day\n2026-10-01\n", b"day,views,more\n2026-10-01,1,2\n"]
WORDS = ["--metrics", "VIEWS", "--dimensions", "DAY", "--start", "2026-01-01", "--end", "2026-03-01"]


def command(vendor: Vendor, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a `reelport report` command ended in."""
    key = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
    line = ["-m", "reelport", "report", *words]
    environment = os.environ | key | {"REELPORT_HOME": str(home)}
    return forked.run(line, env=environment)


@pytest.mark.parametrize("csv", OTHERS)
def test_other_columns_are_taken_by_order(vendor: Vendor, client: Client, to: Path, csv: bytes) -> None:
    """Another order, a column left out and one more are a drift, whose sentence says how the report is taken."""
    vendor.csv = lambda _: csv
    with pytest.raises(SchemaDrift, match="--any-columns") as caught:
        client.reports.run(days(1), to)
    lenient = client.with_options(any_columns=True).reports
    lenient.attach(caught.value.token or "").download(to)
    assert to.read_bytes() == csv
    assert lenient.run(days(2), to).rows == 1


def test_rows_that_repeat_a_key_can_be_had_by_the_command_that_is_advised(vendor: Vendor, tmp_path: Path) -> None:
    """The command that was refused asks anew; its file can be saved by its token."""
    doubled = b"day,views\n2026-01-01,1\n2026-01-01,2\n"
    vendor.etag, vendor.csv = False, lambda _: doubled
    for asks in (1, 2):
        refused = command(vendor, tmp_path, "run", *WORDS)
        assert (refused.returncode, "To continue: " in refused.stderr, len(vendor.asks)) == (1, False, asks)
    assert "`reelport report download TOKEN --any-columns`" in refused.stderr
    done = command(vendor, tmp_path, "download", vendor.tokens[0], "--any-columns")
    assert (done.returncode, done.stdout) == (0, doubled.decode()), done.stderr


def test_windows_that_are_merged_have_the_columns_that_were_asked_for(vendor: Vendor, client: Client, to: Path) -> None:
    """What would be added up must stand where it is looked for."""
    vendor.csv = lambda _: OTHERS[0]
    lenient = client.with_options(any_columns=True, windows=1).reports
    with pytest.raises(SchemaDrift, match="report download TOKEN --any-columns") as caught:
        lenient.run_range(days(2), to)
    client.reports.attach(caught.value.token or "").download(to, any_columns=True)
    assert to.read_bytes() == OTHERS[0], "what is advised helps a range too"


def test_the_command_line_accepts_other_columns(vendor: Vendor, tmp_path: Path) -> None:
    """`report download TOKEN` takes the very report that was refused, and `report run` the same again."""
    vendor.csv = lambda _: OTHERS[0]
    drifted = command(vendor, tmp_path, "run", *WORDS)
    assert (drifted.returncode, "To continue: " in drifted.stderr) == (1, False), drifted.stderr
    done = command(vendor, tmp_path, "download", vendor.tokens[0], "--any-columns")
    assert (done.returncode, done.stdout) == (0, OTHERS[0].decode()), done.stderr
    assert command(vendor, tmp_path, "run", *WORDS, "--any-columns").stdout == OTHERS[0].decode()
    assert len(vendor.asks) == 1


def test_a_refusal_of_many_days_names_the_setting_and_can_be_followed(vendor: Vendor, tmp_path: Path) -> None:
    """A vendor with 30 days that doesn't say so is told of at once, with the option by which all is had."""
    vendor.refuses = lambda wire: "No." if ReportQuery.from_wire(wire).days > 30 else None
    refused = command(vendor, tmp_path, "run", *WORDS)
    assert (refused.returncode, "--window-days 30" in refused.stderr) == (5, True), refused.stderr
    done = command(vendor, tmp_path, "run", *WORDS, "--window-days", "30")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 61), done.stderr


@pytest.mark.parametrize(("length", "reelport", "advised"), [(31, False, True), (30, False, False), (31, True, False)])
def test_few_days_are_not_what_is_refused(
    session: Session, time: Time, *, length: int, reelport: bool, advised: bool
) -> None:
    """Of 30 days or fewer, and at a Reelport service, a refusal is left as it is."""
    settings = replace(session.settings, url="https://vendor.example")
    host = Session(settings, session.clock, session.chance)
    host.access.reelport = reelport
    last = time.day.date()
    query = ReportQuery.of(["VIEWS"], ["DAY"], last.fromordinal(last.toordinal() - length + 1), last)
    refusal = QueryRefused((Problem("bad_request", (), "No."),))
    assert ("--window-days" in str(advise_on_days(host, query, refusal))) is advised

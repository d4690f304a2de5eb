"""Asks that a vendor answers with a failure, a page or nothing: held for that query, never for the whole key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest
from tests import forked
from tests.cases import thin_out
from tests.client.ledgers import Calendar, claimed, days, question, requested, shown
from tests.patience import PATIENCE

from reelport import AskLost, Client
from reelport.client.events import ignore_event
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Claimed, Full, LostAsk, State
from reelport.testing import Vendor

Answer = Literal["500", "html", "empty"]


@pytest.mark.parametrize("answer", thin_out(["500", "html", "empty"], 3))
@pytest.mark.parametrize("lost", ["before", "after"])
def test_failed_answers_to_asks_do_not_stop_a_key(
    vendor: Vendor, client: Client, to: Path, answer: Answer, lost: Literal["before", "after"]
) -> None:
    """Whether they were taken isn't known, and they aren't repeated; all other queries go on in the free slot."""
    vendor.loses_ask, vendor.loses_times, vendor.lost_answer = lost, 2, answer
    for number in (1, 2, 1):
        with pytest.raises(AskLost, match="--again"):
            client.reports.run(days(number), to, progress=ignore_event, deadline=PATIENCE)
    for number in (3, 4):
        assert client.reports.run(days(number), to, deadline=PATIENCE).rows == number
    assert len(vendor.asks) == (4 if lost == "after" else 2)
    assert client.with_options(slots=1).reports.run(days(5), to, deadline=PATIENCE).rows == 5
    again = client.with_options(again=True).reports
    assert [again.run(days(number), to, deadline=PATIENCE).rows for number in (1, 2)] == [1, 2]
    assert client.reports.run(days(1), to, deadline=PATIENCE).rows == 1


def test_a_hangup_holds_its_slot(vendor: Vendor, client: Client) -> None:
    """Nothing at all came back: it may be in the making, and counts."""
    vendor.loses_ask = "after"
    with pytest.raises(AskLost) as caught:
        client.reports.submit(days(1))
    assert not caught.value.answered


def test_answered_asks_hold_all_slots_but_one(ledger: Ledger) -> None:
    """Two of them hold one of two slots together; beside a report that is being made the key is full."""
    for number in (1, 2):
        ledger.record_lost(claimed(ledger, question(days(number))), "HTTP 502", answered=True)
    running = requested(ledger, "R-3", question(days(3)))
    assert isinstance(ledger.enter(question(days(4))), Full)
    ledger.record_status(running, State.FINISHED)
    assert isinstance(ledger.enter(question(days(4))), Claimed)
    assert isinstance(ledger.enter(question(days(1))), LostAsk)


def test_asks_that_nothing_answered_hold_their_slots(ledger: Ledger) -> None:
    """Two lost connections may be two reports in the making."""
    for number in (1, 2):
        ledger.record_lost(claimed(ledger, question(days(number))), "reset", answered=False)
    assert isinstance(ledger.enter(question(days(3))), Full)


def test_an_ask_that_is_repeated_takes_its_own_row_again(ledger: Ledger, calendar: Calendar) -> None:
    """No second slot is held for it; where its process dies, it counts as one that nothing answered."""
    row = claimed(ledger)
    ledger.record_lost(row, "HTTP 502", answered=True)
    calendar.later(minutes=1)
    entry = ledger.enter(question(again=True))
    assert isinstance(entry, Claimed)
    assert (entry.row.id, entry.row.state, entry.row.answered) == (row.id, State.INTENT, False)
    ledger.release(entry.row)
    assert isinstance(ledger.enter(question()), LostAsk)
    assert not shown(ledger, row).answered


@pytest.mark.parametrize("command", thin_out(["run", "submit"], 2))
def test_the_command_line_asks_again_by_order(vendor: Vendor, tmp_path: Path, command: str) -> None:
    """The command that was left with status 6 says `--again`, and with it has the report."""
    vendor.loses_ask, vendor.lost_answer = "before", "500"
    words = ["-m", "reelport", "report", command, "--metrics", "VIEWS", "--start", "2026-01-01"]
    key = {"REELPORT_URL": vendor.url, "REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
    environment = os.environ | key | {"REELPORT_HOME": str(tmp_path)}
    for more, status in (([], 6), ([], 6), (["--again"], 0)):
        line = [*words, "--end", "2026-01-02", *more]
        done = forked.run(line, env=environment)
        assert done.returncode == status, done.stderr
        assert status == 0 or "--again" in done.stderr
        assert "To continue: " not in done.stderr  # without the option it would end the same way
    assert len(vendor.asks) == 1

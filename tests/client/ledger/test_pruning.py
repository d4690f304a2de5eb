"""Rows that the ledger forgets: on command, never behind a process at work, and in time by themselves."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.ledgers import Calendar, claimed, days, given_up, question, requested, shown

from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Claimed, Reuse, Row, State
from reelport.errors import UsageError


def test_what_is_forgotten_holds_no_slot_and_serves_nobody(ledger: Ledger) -> None:
    """It is asked anew when it is wanted."""
    row = requested(ledger)
    given_up(ledger, row)
    ledger.forget(row)
    assert isinstance(ledger.enter(question(slots=1)), Claimed)


def test_what_a_process_works_on_is_not_forgotten(ledger: Ledger) -> None:
    """It would go on behind our back; its process is named."""
    row = requested(ledger)
    with pytest.raises(UsageError, match=str(os.getpid())):
        ledger.forget(row)


def test_what_was_forgotten_stays_so_whatever_comes_late(ledger: Ledger, tmp_path: Path) -> None:
    """A look or a download that ends afterwards doesn't bring it back."""
    row = requested(ledger)
    given_up(ledger, row)
    ledger.forget(row)
    ledger.record_status(row, State.FINISHED)
    ledger.record_download(row, tmp_path, 1, "ab", 1, "proof", delivered=False)
    ledger.record_end(row, State.FAILED, "late")
    assert shown(ledger, row).state is State.FORGOTTEN


def test_old_rows_go_when_a_new_one_comes(ledger: Ledger, delivered: Row, calendar: Calendar) -> None:
    """Ninety days after its ask a report that was delivered is of no interest to anyone."""
    calendar.later(days=91)
    claimed(ledger, question(days(1)))
    assert ledger.get(delivered.id) is None


def test_pruning_removes_what_is_old_and_nothing_that_is_needed(
    ledger: Ledger, delivered: Row, calendar: Calendar
) -> None:
    """Kept are rows of living processes, of held slots and of undelivered reports; younger ones are not looked at."""
    undelivered = requested(ledger, "R-2", question(days(1)))
    ledger.record_status(undelivered, State.FINISHED)
    given_up(ledger, undelivered)
    lost = claimed(ledger, question(days(2)))
    ledger.record_lost(lost, "The answer was lost.", answered=False)
    calendar.later(hours=1)
    working = claimed(ledger, question(days(3)))
    calendar.later(minutes=1)
    assert ledger.prune(calendar.now - timedelta(hours=2)) == ()
    assert ledger.list_prunable(calendar.now) == (delivered,)
    assert ledger.prune(calendar.now) == (delivered,)
    assert {row.id for row in ledger.list_rows()} == {undelivered.id, lost.id, working.id}
    calendar.later(hours=48)
    assert {row.id for row in ledger.prune(calendar.now)} == {undelivered.id, lost.id}
    assert [row.id for row in ledger.list_rows()] == [working.id], "its process lives"


def test_an_undelivered_report_is_needed_until_it_expires(ledger: Ledger, calendar: Calendar) -> None:
    """From that moment on there is nothing left to fetch."""
    row = requested(ledger)
    ledger.record_status(row, State.FINISHED)
    given_up(ledger, row)
    calendar.now = shown(ledger, row).expires - timedelta(seconds=1)
    assert ledger.list_prunable(calendar.now) == ()
    calendar.later(seconds=1)
    assert [each.id for each in ledger.list_prunable(calendar.now)] == [row.id]


def test_a_pruned_report_is_asked_for_anew(ledger: Ledger, delivered: Row, calendar: Calendar) -> None:
    """Pruning loses what the ledger knew: a delivered report that would still have served is no more."""
    entry = ledger.enter(question())
    assert isinstance(entry, Reuse)
    given_up(ledger, entry.row)
    calendar.later(minutes=1)
    assert [row.id for row in ledger.prune(calendar.now)] == [delivered.id]
    assert isinstance(ledger.enter(question()), Claimed)

"""Rows that the ledger forgets: on command, never behind a process at work, and in time by themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.client.ledgers import Calendar, claimed, days, given_up, question, requested, shown

from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Claimed, Row, State
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

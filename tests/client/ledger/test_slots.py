"""Slots of the ledger: how many reports are in flight, whose they are, and which process has ended."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from tests import forked
from tests.client.ledgers import NOW, Calendar, claimed, days, given_up, question, requested

from reelport.client import ledger_rows as owners
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Claimed, Full, State

ELSEWHERE = "elsewhere:1:1:1"
"""An owner on another machine."""


def test_no_more_than_the_slots_are_in_flight(ledger: Ledger) -> None:
    """The third waits until one of the two is seen finished."""
    first = requested(ledger, "R-1", question(days(1)))
    second = claimed(ledger, question(days(2)))
    full = ledger.enter(question(days(3)))
    assert isinstance(full, Full)
    assert [row.id for row in full.rows] == [first.id, second.id]
    ledger.record_status(first, State.FINISHED)
    assert isinstance(ledger.enter(question(days(3))), Claimed)


def test_reports_of_dead_processes_are_looked_at_by_one_in_turn(ledger: Ledger, calendar: Calendar) -> None:
    """They hold their slots until a look; the looks of all waiters together grow ever more seldom."""
    row = requested(ledger)
    assert ledger.take_due_orphans("key-1") == ()
    given_up(ledger, row)
    calendar.later(seconds=1)
    assert [each.id for each in ledger.take_due_orphans("key-1")] == [row.id]
    assert ledger.take_due_orphans("key-1") == ()
    calendar.later(minutes=30)
    assert len(ledger.take_due_orphans("key-1")) == 1
    calendar.later(seconds=59)
    assert ledger.take_due_orphans("key-1") == ()
    calendar.later(seconds=2)
    assert len(ledger.take_due_orphans("key-1")) == 1


def test_a_report_older_than_it_can_live_holds_no_slot(ledger: Ledger, calendar: Calendar) -> None:
    """After 48 hours the service has it no more, whatever the ledger last saw."""
    requested(ledger)
    calendar.later(hours=48)
    assert isinstance(ledger.enter(question(days(1), slots=1)), Claimed)


def test_four_processes_never_claim_the_same_or_too_much(tmp_path: Path) -> None:
    """Of many processes at once one asks each question, and two questions are in flight."""
    code = (
        "import sys; from pathlib import Path\n"
        "from reelport.client.ledger import Ledger; from tests.client import ledgers as t\n"
        "ledger = Ledger(Path(sys.argv[1]), t.Calendar())\n"
        "print(*(type(ledger.enter(t.question(t.days(n)))).__name__ for n in (1, 1, 2, 2, 3, 3)))\n"
        "sys.stdout.flush(); sys.stdin.read()\n"
    )
    words, here = ["-c", code, str(tmp_path / "ledger.db")], Path(__file__).parents[3]
    crowd = [forked.Popen(words, cwd=here, stdin=forked.PIPE, stdout=forked.PIPE) for _ in range(4)]
    lines = [process.stdout.readline() for process in crowd if process.stdout is not None]
    for process in crowd:
        process.communicate()
    said = " ".join(lines).split()
    assert (len(said), said.count("Claimed")) == (24, 2)
    assert set(said) == {"Claimed", "Busy", "Full"}


def test_a_process_that_ended_is_known_to_have() -> None:
    """Neither a dead process nor a later one of the same number is taken for the owner; a living one is."""
    ended = subprocess.run(
        [sys.executable, "-c", "from reelport.client.ledger_rows import new_owner; print(new_owner())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    mine = owners.new_owner()
    host, pid, start, number = mine.split(":")
    soon = NOW + timedelta(minutes=1)
    assert owners.is_gone(ended, soon, NOW)
    assert owners.is_gone(f"{host}:{pid}:{start}1:{number}", soon, NOW)
    assert not owners.is_gone(mine, None, NOW)


def test_a_process_on_another_machine_lives_as_long_as_its_lease() -> None:
    """There is no looking at it: five minutes without a sign of life, and it is taken for dead."""
    assert not owners.is_gone(ELSEWHERE, NOW + timedelta(seconds=1), NOW)
    assert owners.is_gone(ELSEWHERE, NOW, NOW)
    assert owners.is_gone(ELSEWHERE, None, NOW)

"""Slots of the ledger: how many reports are in flight, and whose, in a file and in memory."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests import forked
from tests.client.ledgers import NOW, Calendar, claimed, days, given_up, question, requested, shown

from reelport import AskLost, Client, SlotsFull, UsageError
from reelport.client import ledger_rows as owners
from reelport.client.ledger import LEASE, Ledger, resolve_ledger
from reelport.client.ledger_rows import State
from reelport.client.ledger_slots import Busy, Claimed, Full, Reuse
from reelport.query import ReportQuery
from reelport.testing import Vendor

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


def test_a_look_at_a_dead_process_does_not_renew_its_lease(ledger: Ledger, calendar: Calendar) -> None:
    """Else a report of another machine is looked at once a lease, and its slot stays held as long."""
    row = requested(ledger)
    with closing(sqlite3.connect(ledger.path)) as db, db:
        db.execute("UPDATE reports SET owner = ?", (ELSEWHERE,))
    calendar.later(minutes=6)
    for orphan in ledger.take_due_orphans("key-1"):
        ledger.record_status(orphan, State.RUNNING)
    assert shown(ledger, row).state is State.RUNNING
    assert not shown(ledger, row).is_alive(calendar.now)


@pytest.mark.parametrize("state", [State.RUNNING, State.FINISHED])
def test_a_status_is_written_once_a_minute(ledger: Ledger, calendar: Calendar, state: State) -> None:
    """A second waiter that writes first doesn't keep the owner from renewing the lease."""
    row = requested(ledger)
    guest = replace(row, owner=None)
    for seconds, waiter, looked, renewed in [
        (0, row, 0, 0),
        (59, row, 0, 0),
        (1, guest, 60, 0),
        (1, row, 61, 61),
        (59, guest, 61, 61),
    ]:
        calendar.later(seconds=seconds)
        ledger.record_status(waiter, state)
        found = shown(ledger, row)
        assert found.looked == NOW + timedelta(seconds=looked)
        assert found.leased_until == NOW + timedelta(seconds=renewed) + LEASE


def test_a_clock_that_was_ahead_is_put_right(ledger: Ledger, calendar: Calendar) -> None:
    """Else the row would look alive, and seen, until that moment comes."""
    calendar.later(days=1)
    row = requested(ledger)
    ledger.record_status(row, State.RUNNING)
    calendar.later(days=-1)
    ledger.record_status(row, State.RUNNING)
    assert (shown(ledger, row).looked, shown(ledger, row).leased_until) == (NOW, NOW + LEASE)


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


@pytest.fixture
def memory(calendar: Calendar) -> Ledger:
    """A ledger without a file."""
    return Ledger(None, calendar)


def test_a_question_is_asked_anew_where_a_file_would_answer_it(memory: Ledger, ledger: Ledger, tmp_path: Path) -> None:
    """An ask of this moment, a report in progress and a delivered one serve from a file, and never from memory."""
    for each, answers in ((ledger, [Busy, Reuse, Reuse]), (memory, [Claimed] * 3)):
        row, found = claimed(each), []
        found.append(type(each.enter(question(slots=9))))
        row = each.record_token(row, "R-1")
        found.append(type(each.enter(question(slots=9))))
        each.record_download(row, tmp_path / "views.csv", 10, "ab", 1, "proof", delivered=True)
        found.append(type(each.enter(question(slots=9))))
        assert found == answers


def test_memory_counts_slots_and_frees_them(memory: Ledger) -> None:
    """The third report waits until one of two is seen finished."""
    first = requested(memory, "R-1", question(days(1)))
    claimed(memory, question(days(2)))
    assert isinstance(memory.enter(question(days(3))), Full)
    memory.record_status(first, State.FINISHED)
    assert isinstance(memory.enter(question(days(3))), Claimed)


def test_threads_never_claim_more_than_the_slots(memory: Ledger) -> None:
    """Of sixteen threads at once two get a slot."""
    with ThreadPoolExecutor(16) as threads:
        entries = list(threads.map(lambda number: memory.enter(question(days(number))), range(1, 17)))
    assert sum(isinstance(entry, Claimed) for entry in entries) == 2


def test_a_write_that_fails_leaves_memory_as_it_was(memory: Ledger) -> None:
    """What a stopped block wrote is rolled back, and the next one writes again."""
    row = requested(memory)
    stopped = memory._store.begin_write()  # noqa: SLF001 - where the stop comes
    stopped.__enter__().execute("DELETE FROM reports")
    stopped.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert shown(memory, row) == row
    memory.release(row)
    assert shown(memory, row).owner is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_begins_an_empty_ledger(memory: Ledger) -> None:
    """The parent's asks are none of the child's, also when a thread of the parent was writing just then."""
    row = requested(memory)
    with memory._store.begin_write():  # noqa: SLF001 - the lock is held while the child is made
        child = os.fork()
        if not child:
            empty = memory.list_rows() == () and isinstance(memory.enter(question(slots=1)), Claimed)
            os._exit(0 if empty else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert memory.list_rows() == (shown(memory, row),)


def test_reports_of_one_client_wait_for_each_other_without_a_file(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five at once with two slots: the vendor never has to refuse, and no file is made but the reports'."""
    monkeypatch.setenv("REELPORT_HOME", str(tmp_path / "home"))
    vendor.makes_in = 0.1
    with (
        Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client,
        ThreadPoolExecutor(5) as threads,
    ):
        list(threads.map(lambda number: client.reports.run(days(number), tmp_path / f"{number}.csv"), range(1, 6)))
    assert (len(vendor.asks), vendor.refused) == (5, 0)
    assert vendor.peak <= 2
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{number}.{end}" for number in range(1, 6) for end in ("csv", "csv.json")
    }


def test_a_lost_ask_is_asked_again_without_a_file(vendor: Vendor, query: ReportQuery, tmp_path: Path) -> None:
    """The error doesn't speak of a file that there isn't; the next call asks, with `again` in the lost one's slot."""
    vendor.loses_ask = "after"
    with Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
        with pytest.raises(AskLost) as caught:
            client.reports.run(query, tmp_path / "views.csv")
        assert "reelport jobs" not in str(caught.value)
        single = client.with_options(slots=1)
        with pytest.raises(SlotsFull):
            single.reports.run(query, tmp_path / "views.csv", deadline=0.1)
        single.with_options(again=True).reports.run(query, tmp_path / "views.csv")
        client.reports.run(query, tmp_path / "views.csv")
    assert len(vendor.asks) == 3


def test_a_place_that_is_none_is_refused() -> None:
    """A number or a list would otherwise be taken for no ledger at all, and slots would be lost."""
    for place in (0.5, ["ledger.db"], b"ledger.db"):
        with pytest.raises(UsageError, match="A ledger is a path, True or False, and not "):
            resolve_ledger(place, {}, Calendar())  # type: ignore[arg-type]

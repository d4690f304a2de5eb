"""The ledger's file: who may read it, damaged, newer or full; and the rows that it forgets."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from tests.client.ledgers import Calendar, claimed, days, given_up, question, requested, shown

from reelport.client.ledger import Ledger, Store
from reelport.client.ledger_rows import Row, State, new_owner
from reelport.client.ledger_slots import Claimed, Reuse
from reelport.errors import NewerData, StorageError, UsageError


def test_only_its_user_may_read_it(ledger: Ledger) -> None:
    """The folder is 0700 and the file 0600: tokens of reports are nobody else's business."""
    claimed(ledger)
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    assert ledger.path.parent.stat().st_mode & 0o777 == 0o700


def test_looking_into_a_ledger_makes_none(ledger: Ledger) -> None:
    """Where nothing was asked for there is nothing to see, and nothing is left behind."""
    assert (ledger.list_rows(), ledger.get(1), ledger.find("R-1"), ledger.plan_entry(question())) == (
        (),
        None,
        None,
        None,
    )
    assert not ledger.path.parent.exists()


def damage_nothing(path: Path) -> None:
    path.write_bytes(b"this is no ledger at all, but a letter" * 100)


def damage_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE reports")


def damage_row(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE reports SET query = '{}'")


def damage_pages(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


def damage_everything(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_nothing, damage_table, damage_row, damage_pages, damage_everything])
def test_a_damaged_ledger_is_said_to_be(ledger: Ledger, damage: object) -> None:
    """Reading and writing name the file and what to do; nothing is begun anew behind anyone's back."""
    claimed(ledger)
    assert callable(damage)
    damage(ledger.path)
    before = ledger.path.read_bytes()
    for attempt in (lambda: ledger.enter(question()), ledger.list_rows):
        with pytest.raises(StorageError, match=r"ledger\.db is damaged .* Move it away") as caught:
            attempt()
        # What was raised holds on to all that it came by; a file that it was left open with too.
        assert caught.value.__traceback__
        assert str(ledger.path) not in {file.path for file in psutil.Process().open_files()}
    assert ledger.path.read_bytes() == before


def test_a_ledger_of_a_newer_version_is_left_alone(ledger: Ledger) -> None:
    """What it means isn't known here."""
    claimed(ledger)
    with closing(sqlite3.connect(ledger.path)) as db, db:
        db.execute("PRAGMA user_version = 2")
    for attempt in (lambda: ledger.enter(question()), ledger.list_rows):
        with pytest.raises(NewerData, match="newer version"):
            attempt()


def test_a_folder_that_is_a_file_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    """REELPORT_HOME can be set to another."""
    (tmp_path / "home").write_text("no folder")
    with pytest.raises(StorageError, match="REELPORT_HOME"):
        Ledger(tmp_path / "home" / "ledger.db").enter(question())


def fill(store: Store) -> None:
    """Write more than there is room for."""
    with store.begin_write() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        db.execute("UPDATE reports SET error = ?", ("x" * 100_000,))


def test_a_full_disk_is_said_to_be_full(ledger: Ledger) -> None:
    """Rehearsed by a bound on the file's pages, which SQLite tells in the same words; the ledger is as before."""
    row = claimed(ledger)
    with pytest.raises(StorageError, match="disk is full"):
        fill(Store(ledger.path))
    assert ledger.list_rows() == (row,)


def test_processes_that_begin_one_ledger_together_share_it(ledger: Ledger) -> None:
    """Whoever comes second to the name uses the first one's file, and no other file stays."""
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda number: Ledger(ledger.path).enter(question(days(number))), range(1, 9)))
    assert sum(isinstance(row, Claimed) for row in rows) == 2
    assert len(ledger.list_rows()) == 2
    assert [path.name for path in ledger.path.parent.iterdir()] == [ledger.path.name]


def test_a_ledger_whose_making_was_killed_leaves_no_file(ledger: Ledger) -> None:
    """The next making takes away what dead processes left, and nothing of a living one."""
    home = ledger.path.parent
    code = (
        "import sys, pathlib; from reelport.client.ledger import Store\n"
        "with Store(pathlib.Path(sys.argv[1])).begin_write(): pass"
    )
    killed = {"REELPORT_STOP_AT": "client-ledger"}
    done = subprocess.run([sys.executable, "-c", code, str(ledger.path)], env=killed, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = home.iterdir()
    left.with_name(f"{left.name}-journal").touch()
    living = home / f".{ledger.path.name}.{new_owner().replace(':', '+')}.new"
    living.touch()
    claimed(ledger)
    assert {path.name for path in home.iterdir()} == {ledger.path.name, living.name}


@pytest.fixture
def halfway(ledger: Ledger) -> Ledger:
    """A ledger whose writer was killed in the middle of a transaction."""
    claimed(ledger)
    code = (
        "import os, sys, signal, sqlite3\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 1'); db.execute('PRAGMA cache_spill = 1'); db.execute('BEGIN IMMEDIATE')\n"
        "for n in range(200):\n"
        "    db.execute('INSERT INTO reports (service, identity, fingerprint, query, state, created) '\n"
        "               'SELECT service, identity, fingerprint, hex(randomblob(2000)), state, created '\n"
        "               'FROM reports WHERE id = 1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(ledger.path)], check=False)
    return ledger


def test_a_transaction_that_was_killed_left_nothing(halfway: Ledger) -> None:
    """Whoever opens the file next, be it only to look, finds it as it was before."""
    assert Path(f"{halfway.path}-journal").exists()
    assert len(halfway.list_rows()) == 1


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

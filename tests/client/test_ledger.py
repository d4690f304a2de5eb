"""The ledger: what a question comes to, what each row may become, and what is said of a file that can't be used."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from reelport.client.ledger import Busy, Claimed, Full, Held, Ledger, Question, Row, Serves, State, owners
from reelport.client.ledger.store import Store
from reelport.errors import NewerData, StorageError, UsageError
from reelport.query import ReportQuery

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 11, 1), date(2026, 11, 3))
REPORT = "R-1"
ELSEWHERE = "elsewhere:1:1:1"
"""An owner on another machine."""


class Calendar:
    """A time of day that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """What a ledger asks for."""
        return self.now

    def later(self, **time: float) -> None:
        """Move on."""
        self.now += timedelta(**time)


@pytest.fixture
def calendar() -> Calendar:
    """A time of day that stands still."""
    return Calendar()


@pytest.fixture
def ledger(tmp_path: Path, calendar: Calendar) -> Ledger:
    """A ledger that isn't there yet."""
    return Ledger(tmp_path / "home" / "ledger.db", calendar)


def question(query: ReportQuery = QUERY, *, reelport: bool = False, slots: int = 2, fresh: bool = False) -> Question:
    """A question to a vendor, as one key asks it."""
    return Question("https://vendor.example", "key-1", query, reelport, slots, fresh)


def days(number: int) -> ReportQuery:
    """A query of its own for each number."""
    return QUERY.within(date(2026, 10, 1), date(2026, 10, number))


def claimed(ledger: Ledger, asked: Question | None = None) -> Row:
    """A row that this process is to ask for."""
    entry = ledger.enter(asked or question())
    assert isinstance(entry, Claimed)
    return entry.row


def requested(ledger: Ledger, token: str = REPORT, asked: Question | None = None) -> Row:
    """A row whose token has come."""
    return ledger.requested(claimed(ledger, asked), token)


def given_up(ledger: Ledger, row: Row) -> None:
    """Have the row's process be dead."""
    ledger.released(row)


def shown(ledger: Ledger, row: Row) -> Row:
    """The row as it is in the file."""
    found = ledger.get(row.id)
    assert found is not None
    return found


@pytest.fixture
def delivered(ledger: Ledger, tmp_path: Path) -> Row:
    """A row whose command ended well."""
    row = requested(ledger)
    ledger.saw(row, State.FINISHED)
    ledger.downloaded(row, tmp_path / "views.csv", 10, "ab", 1, "its SHA-256 is the service's")
    ledger.verified(row)
    ledger.delivered([row])
    return shown(ledger, row)


# What a question comes to.


def test_a_new_question_is_claimed_as_an_intent(ledger: Ledger) -> None:
    """The first ask is written down before it is sent, with its query and no token."""
    row = claimed(ledger)
    assert (row.state, row.token, row.query, row.delivered) == (State.INTENT, None, QUERY, False)
    assert row.worker(NOW) == f"{owners.new_owner().split(':')[0]}:{os.getpid()}"


def test_a_question_that_is_being_asked_is_waited_for(ledger: Ledger) -> None:
    """While a living process asks, nobody else asks the same."""
    row = claimed(ledger)
    assert ledger.enter(question()) == Busy(row)


@pytest.mark.parametrize("state", [State.REQUESTED, State.RUNNING, State.FINISHED, State.DOWNLOADED, State.VERIFIED])
@pytest.mark.parametrize("reelport", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("dead", [True, False])
def test_what_was_not_delivered_always_serves(
    ledger: Ledger, tmp_path: Path, state: State, reelport: bool, fresh: bool, dead: bool
) -> None:
    """A report that was asked for and not delivered serves, in each state, at any host, also with fresh."""
    row = requested(ledger)
    ledger.saw(row, min(state, State.FINISHED, key=list(State).index))
    if state in {State.DOWNLOADED, State.VERIFIED}:
        ledger.downloaded(row, tmp_path / "a.csv", 1, "ab", 1, "proof")
    if state is State.VERIFIED:
        ledger.verified(row)
    if dead:
        given_up(ledger, row)
    entry = ledger.enter(question(reelport=reelport, fresh=fresh))
    assert isinstance(entry, Serves)
    assert (entry.row.id, entry.row.state, entry.row.token) == (row.id, state, "R-1")
    assert shown(ledger, row).lives(NOW)
    assert (entry.row.owner is None) is not dead, "who lives keeps it, and nobody else may let go of it"


def test_an_intent_of_a_dead_process_is_held_at_a_vendor_for_two_hours(ledger: Ledger, calendar: Calendar) -> None:
    """Whether the vendor took it isn't known: not asked again, slot held; after two hours it is asked anew."""
    row = claimed(ledger)
    given_up(ledger, row)
    assert isinstance(ledger.enter(question()), Held)
    assert shown(ledger, row).state is State.UNKNOWN
    calendar.later(hours=1, minutes=59)
    assert isinstance(ledger.enter(question()), Held)
    assert isinstance(ledger.enter(question(days(1), slots=1)), Full)
    calendar.later(minutes=1)
    again = ledger.enter(question())
    assert isinstance(again, Claimed)
    assert again.row.id != row.id


@pytest.mark.parametrize("lost", [True, False])
def test_an_intent_of_a_dead_process_is_asked_again_at_a_reelport_service(ledger: Ledger, lost: bool) -> None:
    """It answers the same ask with the same report, so the same row is asked at once and holds no slot till then."""
    row = claimed(ledger, question(reelport=True))
    if lost:
        ledger.ended(row, State.UNKNOWN, "gone")
    given_up(ledger, row)
    assert isinstance(ledger.enter(question(days(1), reelport=True, slots=1)), Claimed)
    entry = ledger.enter(question(reelport=True))
    assert isinstance(entry, Claimed)
    assert (entry.row.id, entry.row.state) == (row.id, State.INTENT)


def test_a_delivered_report_serves_at_a_vendor_while_it_lives(
    ledger: Ledger, delivered: Row, calendar: Calendar
) -> None:
    """Its range was over when it was asked for: 48 hours long there is nothing new to be had."""
    calendar.later(hours=47, minutes=59)
    assert isinstance(ledger.enter(question()), Serves)
    calendar.later(minutes=1)
    assert isinstance(ledger.enter(question()), Claimed)
    assert ledger.get(delivered.id) is not None


def test_a_delivered_report_does_not_serve_when_it_must_not(ledger: Ledger, delivered: Row) -> None:
    """With fresh, and at a Reelport service, which is asked whether anything changed."""
    del delivered
    row = claimed(ledger, question(fresh=True))
    ledger.drop(row)
    assert isinstance(ledger.enter(question(reelport=True)), Claimed)


def test_a_delivered_report_of_a_day_that_was_not_over_is_asked_anew(ledger: Ledger) -> None:
    """Today's numbers move: what was had of them an hour ago isn't the answer."""
    today = question(QUERY.within(date(2026, 11, 1), NOW.date()))
    row = requested(ledger, asked=today)
    ledger.delivered([row])
    assert isinstance(ledger.enter(today), Claimed)


@pytest.mark.parametrize("end", [State.FAILED, State.EXPIRED])
def test_what_failed_or_expired_is_asked_anew(ledger: Ledger, end: State) -> None:
    """Nothing else can serve."""
    row = requested(ledger)
    ledger.ended(row, end, "why")
    assert isinstance(ledger.enter(question()), Claimed)
    assert shown(ledger, row).error == "why"


def test_another_key_is_another_question(ledger: Ledger) -> None:
    """Neither rows nor slots are shared between keys."""
    requested(ledger)
    other = replace(question(slots=1), identity="key-2")
    assert isinstance(ledger.enter(other), Claimed)


def test_the_same_token_again_is_the_same_row(ledger: Ledger, delivered: Row) -> None:
    """A service that gives the report that we have goes on with its row: file and times stay known."""
    row = requested(ledger, delivered.token or "", question(reelport=True))
    assert (row.id, row.state, row.sha256, row.delivered) == (delivered.id, State.VERIFIED, "ab", False)
    assert len(ledger.rows()) == 1


# Slots.


def test_no_more_than_the_slots_are_in_flight(ledger: Ledger) -> None:
    """The third waits until one of the two is seen finished."""
    first = requested(ledger, "R-1", question(days(1)))
    second = claimed(ledger, question(days(2)))
    full = ledger.enter(question(days(3)))
    assert isinstance(full, Full)
    assert [row.id for row in full.rows] == [first.id, second.id]
    ledger.saw(first, State.FINISHED)
    assert isinstance(ledger.enter(question(days(3))), Claimed)


def test_reports_of_dead_processes_are_looked_at_by_one_in_turn(ledger: Ledger, calendar: Calendar) -> None:
    """They hold their slots until a look; the looks of all waiters together grow ever more seldom."""
    row = requested(ledger)
    assert ledger.orphans("key-1") == ()
    given_up(ledger, row)
    calendar.later(seconds=1)
    assert [each.id for each in ledger.orphans("key-1")] == [row.id]
    assert ledger.orphans("key-1") == ()
    calendar.later(minutes=30)
    assert len(ledger.orphans("key-1")) == 1
    calendar.later(seconds=59)
    assert ledger.orphans("key-1") == ()
    calendar.later(seconds=2)
    assert len(ledger.orphans("key-1")) == 1


def test_a_report_older_than_it_can_live_holds_no_slot(ledger: Ledger, calendar: Calendar) -> None:
    """After 48 hours the service has it no more, whatever the ledger last saw."""
    requested(ledger)
    calendar.later(hours=48)
    assert isinstance(ledger.enter(question(days(1), slots=1)), Claimed)


def test_eight_processes_never_claim_the_same_or_too_much(tmp_path: Path) -> None:
    """Of many processes at once one asks each question, and two questions are in flight."""
    code = (
        "import sys, test_ledger as t\n"
        "ledger = t.Ledger(t.Path(sys.argv[1]), t.Calendar())\n"
        "print(*(type(ledger.enter(t.question(t.days(n)))).__name__ for n in (1, 1, 2, 2, 3, 3)))\n"
        "sys.stdout.flush(); sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "ledger.db")]
    crowd = [
        subprocess.Popen(words, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    lines = [process.stdout.readline() for process in crowd if process.stdout is not None]
    for process in crowd:
        process.communicate()
    said = " ".join(lines).split()
    assert (len(said), said.count("Claimed")) == (24, 2)
    assert set(said) == {"Claimed", "Busy", "Full"}


# Owners.


def test_a_process_that_ended_is_known_to_have(ledger: Ledger) -> None:
    """Neither a dead process nor a later one of the same number is taken for the owner; a living one is."""
    ended = subprocess.run(
        [sys.executable, "-c", "from reelport.client.ledger import owners; print(owners.new_owner())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    mine = owners.new_owner()
    host, pid, start, number = mine.split(":")
    soon = NOW + timedelta(minutes=1)
    assert owners.gone(ended, soon, NOW)
    assert owners.gone(f"{host}:{pid}:{start}1:{number}", soon, NOW)
    assert not owners.gone(mine, None, NOW)
    del ledger


def test_a_process_on_another_machine_lives_as_long_as_its_lease() -> None:
    """There is no looking at it: five minutes without a sign of life, and it is taken for dead."""
    assert not owners.gone(ELSEWHERE, NOW + timedelta(seconds=1), NOW)
    assert owners.gone(ELSEWHERE, NOW, NOW)
    assert owners.gone(ELSEWHERE, None, NOW)


# Forgetting.


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
    ledger.saw(row, State.FINISHED)
    ledger.downloaded(row, tmp_path, 1, "ab", 1, "proof")
    ledger.ended(row, State.FAILED, "late")
    assert shown(ledger, row).state is State.FORGOTTEN


def test_old_rows_go_when_a_new_one_comes(ledger: Ledger, delivered: Row, calendar: Calendar) -> None:
    """Ninety days after its ask a report that was delivered is of no interest to anyone."""
    calendar.later(days=91)
    claimed(ledger, question(days(1)))
    assert ledger.get(delivered.id) is None


# The file.


def test_only_its_user_may_read_it(ledger: Ledger) -> None:
    """The folder is 0700 and the file 0600: tokens of reports are nobody else's business."""
    claimed(ledger)
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    assert ledger.path.parent.stat().st_mode & 0o777 == 0o700


def test_looking_into_a_ledger_makes_none(ledger: Ledger) -> None:
    """Where nothing was asked for there is nothing to see, and nothing is left behind."""
    assert (ledger.rows(), ledger.get(1), ledger.find("R-1"), ledger.foretell(question())) == ((), None, None, None)
    assert not ledger.path.parent.exists()


def damage_nothing(path: Path) -> None:
    path.write_bytes(b"this is no ledger at all, but a letter" * 100)


def damage_table(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE reports")


def damage_row(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE reports SET query = '{}'")


def damage_pages(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


@pytest.mark.parametrize("damage", [damage_nothing, damage_table, damage_row, damage_pages])
def test_a_damaged_ledger_is_said_to_be(ledger: Ledger, damage: object) -> None:
    """Reading and writing name the file and what to do; nothing is begun anew behind anyone's back."""
    claimed(ledger)
    assert callable(damage)
    damage(ledger.path)
    before = ledger.path.read_bytes()
    for attempt in (lambda: ledger.enter(question()), ledger.rows):
        with pytest.raises(StorageError, match=r"ledger\.db is damaged .* Move it away"):
            attempt()
    assert ledger.path.read_bytes() == before


def test_a_ledger_of_a_newer_version_is_left_alone(ledger: Ledger) -> None:
    """What it means isn't known here."""
    claimed(ledger)
    with sqlite3.connect(ledger.path) as db:
        db.execute("PRAGMA user_version = 2")
    for attempt in (lambda: ledger.enter(question()), ledger.rows):
        with pytest.raises(NewerData, match="newer version"):
            attempt()


def test_a_folder_that_is_a_file_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    """REELPORT_HOME can be set to another."""
    (tmp_path / "home").write_text("no folder")
    with pytest.raises(StorageError, match="REELPORT_HOME"):
        Ledger(tmp_path / "home" / "ledger.db").enter(question())


def fill(store: Store) -> None:
    """Write more than there is room for."""
    with store.writing() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        db.execute("UPDATE reports SET error = ?", ("x" * 100_000,))


def test_a_full_disk_is_said_to_be_full(ledger: Ledger) -> None:
    """Rehearsed by a bound on the file's pages, which SQLite tells in the same words; the ledger is as before."""
    row = claimed(ledger)
    with pytest.raises(StorageError, match="disk is full"):
        fill(Store(ledger.path))
    assert ledger.rows() == (row,)


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
    assert len(halfway.rows()) == 1

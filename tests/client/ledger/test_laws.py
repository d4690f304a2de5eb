"""What a question to the ledger comes to; whatever processes do and wherever they die, nothing is asked for twice."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.cases import thin_out
from tests.client.ledgers import NOW, QUERY, Calendar, claimed, days, given_up, question, requested, shown

from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Row, State, new_owner
from reelport.client.ledger_slots import Busy, Claimed, Full, LostAsk, Question, Reuse
from reelport.query import ReportQuery

SLOTS = 2
ASKED = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 1))
WHICH = st.integers(0, 5)
"""Which of the processes at work, or of the reports being made."""


@dataclass(frozen=True)
class Process:
    """A process at work on a row: before its ask, between the vendor's answer and the ledger, or after."""

    row: Row
    number: int
    token: str | None = None


class Machine(RuleBasedStateMachine):
    """A machine with processes that ask a vendor for three reports, and die at any time. No time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="reelport-laws-")
        now = datetime(2026, 11, 25, 12, tzinfo=UTC)
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db", lambda: now)
        self.asking: list[Process] = []
        self.answered: list[Process] = []
        self.waiting: list[Process] = []
        self.making: list[str] = []
        self.asked: Counter[int] = Counter()
        self.delivered: Counter[int] = Counter()

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.folder.cleanup()

    @rule(number=st.integers(1, 3))
    def starts(self, number: int) -> None:
        """A process begins with a question."""
        query = ASKED.within(ASKED.start, date(2026, 1, number))
        entry = self.ledger.enter(Question("https://vendor.example", "key", query, reelport=False, slots=SLOTS))
        match entry:
            case Claimed(row):
                self.asking.append(Process(row, number))
            case Reuse(row):
                self.waiting.append(Process(row, number, row.token))

    @precondition(lambda self: self.asking)
    @rule(which=WHICH)
    def asks(self, which: int) -> None:
        """The vendor takes a report."""
        if process := _taken(self.asking, which):
            self.asked[process.number] += 1
            token = f"R-{sum(self.asked.values())}"
            self.making.append(token)
            self.answered.append(replace(process, token=token))

    @precondition(lambda self: self.answered)
    @rule(which=WHICH)
    def writes_down(self, which: int) -> None:
        """The token gets into the ledger."""
        if process := _taken(self.answered, which):
            row = self.ledger.record_token(process.row, process.token or "")
            self.waiting.append(replace(process, row=row))

    @precondition(lambda self: self.making)
    @rule(which=WHICH)
    def makes(self, which: int) -> None:
        """The vendor finishes a report."""
        if self.making:
            self.making.pop(which % len(self.making))

    @rule()
    def looks_on_behalf(self) -> None:
        """Somebody who waits looks at the reports of the dead."""
        for row in self.ledger.take_due_orphans("key"):
            self.ledger.record_status(row, State.RUNNING if row.token in self.making else State.FINISHED)

    @precondition(lambda self: self.waiting)
    @rule(which=WHICH)
    def ends_well(self, which: int) -> None:
        """A process whose report is made downloads it."""
        done = [process for process in self.waiting if process.token not in self.making]
        if process := _taken(done, which):
            self.waiting.remove(process)
            self.ledger.record_status(process.row, State.FINISHED)
            self.ledger.record_download(process.row, Path("/views.csv"), 1, "ab", 1, "proof", delivered=True)
            self.delivered[process.number] += 1

    @rule(which=WHICH)
    def dies(self, which: int) -> None:
        """A process is killed, more often than not in its ask."""
        for place in (self.answered, self.asking, self.waiting):
            if process := _taken(place, which):
                self.ledger.release(process.row)
                return

    @invariant()
    def no_slot_is_exceeded(self) -> None:
        """The vendor never makes more reports than there are slots, those of lost asks included."""
        assert len(self.making) <= SLOTS

    @invariant()
    def nothing_is_asked_twice(self) -> None:
        """One report is asked for each question, however often it comes."""
        assert max(self.asked.values(), default=0) <= 1


def _taken(processes: list[Process], which: int) -> Process | None:
    return processes.pop(which % len(processes)) if processes else None


TestLaws = Machine.TestCase
TestLaws.settings = settings(stateful_step_count=40)


def test_a_new_question_is_claimed_as_an_intent(ledger: Ledger) -> None:
    """The first ask is written down before it is sent, with its query and no token."""
    row = claimed(ledger)
    assert (row.state, row.token, row.query, row.delivered) == (State.INTENT, None, QUERY, False)
    assert row.find_worker(NOW) == f"{new_owner().split(':')[0]}:{os.getpid()}"


def test_a_question_that_is_being_asked_is_waited_for(ledger: Ledger) -> None:
    """While a living process asks, nobody else asks the same."""
    row = claimed(ledger)
    assert ledger.enter(question()) == Busy(row)


@pytest.mark.parametrize("state", thin_out([State.REQUESTED, State.RUNNING, State.FINISHED, State.VERIFIED], 4))
@pytest.mark.parametrize("reelport", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("dead", [True, False])
def test_what_was_not_delivered_always_serves(
    ledger: Ledger, tmp_path: Path, state: State, reelport: bool, fresh: bool, dead: bool
) -> None:
    """A report that was asked for and not delivered serves, in each state, at any host, also with fresh."""
    row = requested(ledger)
    ledger.record_status(row, min(state, State.FINISHED, key=list(State).index))
    if state is State.VERIFIED:
        ledger.record_download(row, tmp_path / "a.csv", 1, "ab", 1, "proof", delivered=False)
    if dead:
        given_up(ledger, row)
    entry = ledger.enter(question(reelport=reelport, fresh=fresh))
    assert isinstance(entry, Reuse)
    assert (entry.row.id, entry.row.state, entry.row.token) == (row.id, state, "R-1")
    assert shown(ledger, row).is_alive(NOW)
    assert (entry.row.owner is None) is not dead, "who lives keeps it, and nobody else may let go of it"


def test_a_reelport_service_is_asked_whether_an_undelivered_report_is_current(ledger: Ledger) -> None:
    """The report may still be made: the ask takes no further slot, and the same token is the same row."""
    row = requested(ledger)
    given_up(ledger, row)
    entry = ledger.enter(question(reelport=True, current=True, slots=1))
    assert isinstance(entry, Claimed)
    assert ledger.record_token(entry.row, "R-1").id == row.id


def test_another_vendor_is_not_asked_whether_an_undelivered_report_is_current(ledger: Ledger) -> None:
    """It would make a second report."""
    row = requested(ledger)
    given_up(ledger, row)
    entry = ledger.enter(question(current=True))
    assert isinstance(entry, Reuse)
    assert entry.row.id == row.id


def test_a_report_older_than_a_delivered_one_serves_nobody(ledger: Ledger) -> None:
    """Its numbers were asked anew since: what was left undelivered of it is out of date."""
    given_up(ledger, requested(ledger))
    newer = requested(ledger, "R-2", question(reelport=True, current=True))
    ledger.record_delivered(newer)
    assert isinstance(ledger.enter(question(reelport=True)), Claimed)


def test_an_intent_of_a_dead_process_is_held_at_a_vendor_for_two_hours(ledger: Ledger, calendar: Calendar) -> None:
    """Whether the vendor took it isn't known: not asked again, slot held; after two hours it is asked anew."""
    row = claimed(ledger)
    given_up(ledger, row)
    assert isinstance(ledger.enter(question()), LostAsk)
    assert shown(ledger, row).state is State.UNKNOWN
    calendar.later(hours=1, minutes=59)
    assert isinstance(ledger.enter(question()), LostAsk)
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
        ledger.record_end(row, State.UNKNOWN, "gone")
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
    assert isinstance(ledger.enter(question()), Reuse)
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
    ledger.record_delivered(row)
    assert isinstance(ledger.enter(today), Claimed)


@pytest.mark.parametrize("end", [State.FAILED, State.EXPIRED])
def test_what_failed_or_expired_is_asked_anew(ledger: Ledger, end: State) -> None:
    """Nothing else can serve."""
    row = requested(ledger)
    ledger.record_end(row, end, "why")
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
    assert len(ledger.list_rows()) == 1

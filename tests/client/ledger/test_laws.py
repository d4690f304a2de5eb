"""Laws of the ledger: whatever processes do and wherever they die, slots are kept and no report is asked for twice."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Claimed, Question, Reuse, Row, State
from reelport.query import ReportQuery

SLOTS = 2
QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 1))
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
        query = QUERY.within(QUERY.start, date(2026, 1, number))
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

"""The time that expiry goes by: a clock that jumps ends nothing, and one that was right all along ends what is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tests.server.conftest import NOW, State

from reelport.server.files import retention
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import backlog, jobs
from reelport.server.reports import report_access
from reelport.server.reports.ask import AskedReport
from reelport.server.state.expiry_clock import HOLD_SECONDS, ExpiryClock
from reelport.wire import ReportStatus

AHEAD = timedelta(hours=49)
HOLD = timedelta(seconds=HOLD_SECONDS)


@dataclass
class Machine:
    """A machine's two clocks; the wall clock can be set."""

    at: datetime = NOW
    passed: float = 0.0

    def pass_time(self, by: timedelta) -> None:
        """Let time pass by both clocks."""
        self.at += by
        self.passed += by.total_seconds()

    def start(self, state: State) -> ExpiryClock:
        """A process of this machine that begins now."""
        return ExpiryClock(state.db, lambda: self.at, lambda: self.passed)


def finished(state: State) -> tuple[AskedReport, Path]:
    """A finished report, asked at NOW, and its file."""
    state.organization("demo")
    asked = state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=1, lease_seconds=30)
    assert claim is not None
    state.settings.files_root.mkdir()
    path = state.settings.files_root / f"{claim.report_id}-1.csv"
    path.write_text("views\n")
    assert jobs.finish(state.db, claim, FileRecord(path.name, 0, 6, "ab"), NOW)
    return asked, path


def sweep(state: State, clock: ExpiryClock) -> int:
    """What a keeper does when a sweep is due."""
    return retention.sweep(state.db, state.settings, clock.agree())


def test_clock_that_jumps_ahead_and_back_ends_nothing(state: State) -> None:
    """Swept at 49 hours ahead, by the process that saw the jump and by one that began after it, the file stays."""
    asked, path = finished(state)
    machine = Machine()
    clock = machine.start(state)
    assert sweep(state, clock) == 0
    machine.pass_time(timedelta(minutes=1))
    machine.at += AHEAD
    for _ in range(50):
        machine.pass_time(timedelta(minutes=1))
        assert sweep(state, clock) == 0
        assert sweep(state, machine.start(state)) == 0
    caller = state.caller(state.key("demo"))
    looked = report_access.find_report(state.db, caller, asked.token, clock.now())
    assert looked is not None
    assert looked.status is ReportStatus.FINISHED
    machine.at -= AHEAD
    assert sweep(state, clock) == 0
    assert path.exists()
    assert backlog.get_entry(state.db, asked.id).state == "finished"
    assert clock.now() == machine.at


def test_report_ends_on_time_while_the_clock_is_ahead(state: State) -> None:
    """Time passes all the same: what is over by the monotonic clock ends before the new time is believed."""
    _, path = finished(state)
    machine = Machine()
    clock = machine.start(state)
    clock.agree()
    machine.pass_time(timedelta(hours=47, minutes=30))
    assert sweep(state, clock) == 0
    machine.at += AHEAD
    assert sweep(state, clock) == 0
    machine.pass_time(timedelta(minutes=31))
    assert sweep(state, clock) == 1
    assert not path.exists()


def test_clock_that_stays_ahead_is_believed_after_an_hour(state: State) -> None:
    """Then it was wrong before, or the machine was off: what is over by it ends."""
    _, path = finished(state)
    machine = Machine()
    clock = machine.start(state)
    clock.agree()
    machine.at += AHEAD
    assert sweep(state, clock) == 0
    machine.pass_time(HOLD - timedelta(seconds=1))
    assert sweep(state, clock) == 0
    machine.pass_time(timedelta(seconds=1))
    assert sweep(state, clock) == 1
    assert not path.exists()


def test_machine_that_was_off_for_days_ends_what_is_over_an_hour_later(state: State) -> None:
    """A jump while nothing ran looks like that, and ends nothing if it is taken back within the hour."""
    finished(state)
    machine = Machine()
    machine.start(state).agree()
    machine.at += AHEAD
    clock = machine.start(state)
    assert sweep(state, clock) == 0
    machine.pass_time(HOLD)
    assert sweep(state, clock) == 1


def test_short_absence_holds_nothing_up(state: State) -> None:
    """A service that was stopped for half an hour believes its clock at once."""
    machine = Machine()
    machine.start(state).agree()
    machine.pass_time(timedelta(minutes=30))
    clock = machine.start(state)
    assert clock.agree() == machine.at


def test_machine_whose_clock_is_wrong_ends_nothing_while_another_one_is_right(state: State) -> None:
    """However long it keeps to its time, the others' is agreed upon again and again meanwhile."""
    _, path = finished(state)
    right, wrong = Machine(), Machine(NOW + AHEAD)
    here = right.start(state)
    here.agree()
    there = wrong.start(state)
    for _ in range(30):
        right.pass_time(timedelta(minutes=10))
        wrong.pass_time(timedelta(minutes=10))
        assert sweep(state, here) == 0
        assert sweep(state, there) == 0
    assert path.exists()


def test_process_that_began_in_doubt_believes_what_others_agreed_upon(state: State) -> None:
    """When one has waited for its hour, nobody else need wait for another one."""
    machine = Machine()
    first = machine.start(state)
    first.agree()
    machine.at += AHEAD
    first.agree()
    machine.pass_time(HOLD - timedelta(minutes=1))
    second = machine.start(state)
    assert second.agree() < machine.at
    machine.pass_time(timedelta(minutes=1))
    assert first.agree() == machine.at
    assert second.agree() == machine.at


def test_clock_that_is_set_back_is_believed_at_once(state: State) -> None:
    """It ends nothing early."""
    machine = Machine()
    clock = machine.start(state)
    clock.agree()
    machine.at -= AHEAD
    assert clock.agree() == machine.at
    assert machine.start(state).agree() == machine.at

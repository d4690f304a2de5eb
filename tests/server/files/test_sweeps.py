"""Sweeps after a clock that jumped: one is skipped, the next deletes what is over."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.server.conftest import NOW, State

from reelport.server.files import retention
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs

AHEAD = timedelta(hours=49)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def path(state: State) -> Path:
    """The file of a report that was asked for at NOW, and is over two days later."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    claim = jobs.claim(state.db, "one", running=1, lease_seconds=30)
    assert claim is not None
    state.settings.files_root.mkdir()
    found = state.settings.files_root / f"{claim.report_id}-1.csv"
    found.write_text("views\n")
    assert jobs.finish(state.db, claim, FileRecord(found.name, 0, 6, "ab"), NOW)
    return found


def sweep(state: State, now: datetime) -> int:
    """What a process does when a sweep is due."""
    return retention.sweep_unless_jumped(state.db, state.settings, now)


def test_a_clock_that_jumps_ahead_and_back_deletes_nothing(state: State, path: Path) -> None:
    """The sweep at 49 hours ahead is skipped, and the log says so; later ones go by the right time."""
    assert sweep(state, NOW) == 0
    with capture_logs() as logs:
        assert sweep(state, NOW + AHEAD) == 0
    assert [line["event"] for line in logs] == ["more than a day since the last sweep: this one is skipped"]
    assert sweep(state, NOW + MINUTE) == 0
    assert path.exists()


def test_a_machine_whose_clock_is_ahead_deletes_nothing_beside_one_that_is_right(state: State, path: Path) -> None:
    """However long both take turns: each sweep of the wrong one comes more than a day after one of the right one."""
    for number in range(10):
        assert sweep(state, NOW + number * MINUTE) == 0
        assert sweep(state, NOW + number * MINUTE + AHEAD) == 0
    assert path.exists()


def test_the_second_sweep_after_days_without_a_service_deletes_what_is_over(state: State, path: Path) -> None:
    """Also the first one where no sweep was ever made."""
    sweep(state, NOW)
    assert sweep(state, NOW + AHEAD) == 0
    assert sweep(state, NOW + AHEAD + MINUTE) == 1
    assert not path.exists()


def test_a_sweep_of_every_hour_deletes_what_is_over(state: State, path: Path) -> None:
    """A report ends on time where sweeps are made less than a day apart."""
    gone = [sweep(state, NOW + timedelta(hours=hour)) for hour in range(50)]
    assert (sum(gone), gone.index(1)) == (1, 48)
    assert not path.exists()

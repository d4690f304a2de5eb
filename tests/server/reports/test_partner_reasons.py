"""What a partner reads of a report that failed or waits: nothing of the platform's inside; on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from tests.server.conftest import State

from reelport.errors import DiskFull, EngineUnavailable, OutOfMemory, QueryRefused, StorageError
from reelport.server.queue import backlog, deaths, jobs
from reelport.server.queue.jobs import Claim, ReasonCode
from reelport.server.reports import report_list
from reelport.server.reports.ask import AskedReport

INSIDE = "s3://tables/eu/plays: the object store fails: GET http://127.0.0.1:25501/tables?list-type=2"
LATE = "It was not made in 60 seconds: ask for less."


@pytest.fixture
def asked(state: State) -> AskedReport:
    """A report of the organization `demo`."""
    state.organization("demo", "c")
    return state.ask(state.caller(state.key("demo")))


def claim(state: State, report: AskedReport) -> Claim:
    """The job of the report, taken by a worker that makes nothing else."""
    found = jobs.claim(state.db, "w", running=9, lease_seconds=30)
    assert found is not None
    assert found.report_id == report.id
    return found


def read(state: State, report: AskedReport) -> str:
    """What its people read of it."""
    found = report_list.find_listed_report(state.db, state.settings, 1, report.id, state.now)
    assert found is not None
    return str(found.reason)


def read_as_operator(state: State, report: AskedReport) -> str:
    """What an operator reads of it."""
    return str(backlog.get_entry(state.db, report.id).reason)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (StorageError.code, "The platform could not make it, which is not your request's fault: ask again, or tell"),
        (DiskFull.code, "The platform had no room for it, for too long: ask again later, or tell"),
        (EngineUnavailable.code, "A part of the platform was away for too long: ask again later, or tell"),
        (OutOfMemory.code, "It is too large for the platform: ask for less (fewer days or dimensions), or tell"),
    ],
)
def test_a_failed_report_says_what_to_do_and_nothing_of_the_inside(
    state: State, asked: AskedReport, code: str, said: str
) -> None:
    """The partner reads a sentence by the kind of error, with the id to tell; the operator the error itself."""
    assert jobs.fail(state.db, claim(state, asked), INSIDE, state.now, code=code)
    assert read(state, asked) == f"{said} the platform the report's id, {asked.id}."
    assert read_as_operator(state, asked) == INSIDE


def test_a_waiting_report_says_what_for(state: State, asked: AskedReport) -> None:
    """The same while it is tried again, or waits for room or the engine."""
    assert jobs.retry(state.db, claim(state, asked), INSIDE, 0, code=StorageError.code)
    assert read(state, asked) == "the platform could not make it yet: it tries again by itself"
    assert jobs.wait_for_room(state.db, claim(state, asked), INSIDE, 0, code=DiskFull.code)
    assert read(state, asked) == "the platform has no room for it now: it goes on by itself"
    assert jobs.wait_for_room(state.db, claim(state, asked), INSIDE, 0, code=EngineUnavailable.code)
    assert read(state, asked) == "a part of the platform is away: it goes on by itself"
    assert read_as_operator(state, asked) == INSIDE


def test_a_lost_process_is_told_without_its_signal(state: State, asked: AskedReport) -> None:
    """Neither how it died nor a setting of the platform is a partner's matter."""
    claim(state, asked)
    deaths.requeue_jobs(state.db, "w")
    assert read(state, asked) == "its process ended early, which is not its fault: it is made again"
    claim(state, asked)
    deaths.record_death(state.db, "w", "was killed by SIGKILL", limit=2, now=state.now)
    assert read(state, asked) == "its process ended early: it is made again, alone"
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET not_before = 0"))
    assert jobs.claim(state.db, "w", running=9, lease_seconds=30, suspect=True) is not None
    deaths.record_death(state.db, "w", "was killed by SIGKILL", limit=2, now=state.now)
    assert read(state, asked).startswith("It is too large for the platform: ask for less")
    assert "REELPORT_WORKER_MEMORY" in read_as_operator(state, asked)


def test_a_process_that_is_only_silent_is_not_said_to_have_ended(state: State, asked: AskedReport) -> None:
    """A lease that ran out tells no more than that."""
    claim(state, asked)
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET leased_until = 1"))
    assert deaths.requeue_overdue(state.db, 30) == (asked.id,)
    assert read(state, asked) == "its process gave no sign of life, which is not its fault: it is made again"


@pytest.mark.parametrize(("code", "own"), [(ReasonCode.TOO_LATE, LATE), (QueryRefused.code, "metrics.0: No metric.")])
def test_what_is_about_the_request_stays_as_it_is(state: State, asked: AskedReport, code: str, own: str) -> None:
    """Its words are the partner's: it says what to change."""
    assert jobs.fail(state.db, claim(state, asked), own, state.now, code=code)
    assert read(state, asked) == own


def test_a_cancelled_report_says_by_whom(state: State, asked: AskedReport) -> None:
    """Also after an attempt that failed."""
    assert jobs.retry(state.db, claim(state, asked), INSIDE, 0, code=StorageError.code)
    backlog.cancel(state.db, asked.id, state.now)
    assert read(state, asked) == "It was cancelled by an operator."


def test_a_reason_of_an_older_version_tells_nothing(state: State, asked: AskedReport) -> None:
    """It has no code: who knows what is in it."""
    assert jobs.fail(state.db, claim(state, asked), INSIDE, state.now)
    with state.db.begin() as connection:
        connection.execute(text("UPDATE reports SET reason_code = NULL"))
    assert read(state, asked).startswith("The platform could not make it")

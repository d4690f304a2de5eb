"""The reports of an organization as its people see them, and the reasons that they read; on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import text
from tests.server.conftest import State

from reelport.engine.duckdb.engine import Progress
from reelport.errors import DiskFull, EngineUnavailable, OutOfMemory, QueryRefused, StorageError, StoreUnavailable
from reelport.query import ReportQuery
from reelport.report_details import Failure, FailureReason
from reelport.server.access.audit_log import Actor
from reelport.server.access.callers import Caller
from reelport.server.access.keys import identify_studio
from reelport.server.access.roles import Reach
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import backlog, deaths, jobs
from reelport.server.queue.jobs import Claim
from reelport.server.queue.report_state import ReasonCode
from reelport.server.reports import report_access, report_list
from reelport.server.reports.ask import ask_report
from reelport.server.reports.report_access import FoundReport
from reelport.server.reports.report_list import PAGE, Cursor, ReportPage, StateFilter
from reelport.server.state.database import writing
from reelport.server.state.tables import REPORTS

FILE = FileRecord("x.csv", 1, 2, "ab")


@pytest.fixture
def caller(state: State) -> Caller:
    """A key of the organization `demo`."""
    state.organization("demo", "c")
    return state.caller(state.key("demo"))


def shown(state: State, caller: Caller, by: StateFilter = StateFilter.ALL, after: Cursor | None = None) -> ReportPage:
    """A page of the list."""
    return report_list.list_reports(state.db, Reach(caller.organization_id), state.now, shown=by, after=after)


def test_each_report_says_what_it_is_in(state: State, caller: Caller) -> None:
    """The place in the queue, rows and bytes, those so far too, the reason; filters leave the others out."""
    asked = [state.ask(caller, day).id for day in range(1, 6)]
    first, second = (jobs.claim(state.db, "w", running=9, lease_seconds=30) for _ in range(2))
    assert first
    assert second
    assert jobs.finish(state.db, first, FILE, state.now + timedelta(seconds=3))
    assert jobs.renew_lease(state.db, second, 30, Progress(3, 70))
    jobs.cancel(state.db, asked[2], "No.", state.now)
    found = {report.id: report for report in shown(state, caller).reports}
    assert [found[name].state for name in asked] == ["finished", "running", "cancelled", "queued", "queued"]
    assert (found[asked[0]].rows, found[asked[0]].bytes, found[asked[0]].seconds) == (1, 2, 3)
    assert (found[asked[1]].rows, found[asked[1]].bytes) == (3, 70)
    assert found[asked[2]].reason == f"No. {FailureReason.CANCELLED.advice}"
    assert [found[name].place for name in asked] == [None, None, None, 1, 2]
    by = {each: {report.id for report in shown(state, caller, each).reports} for each in StateFilter}
    assert by[StateFilter.ALL] == set(asked)
    assert by[StateFilter.UNFINISHED] == {asked[1], asked[3], asked[4]}
    assert (by[StateFilter.FINISHED], by[StateFilter.FAILED]) == ({asked[0]}, {asked[2]})
    counts = report_list.count_by_filter(state.db, Reach(caller.organization_id), state.now)
    assert counts == {each: len(reports) for each, reports in by.items()}


def test_what_is_over_is_expired_before_a_sweep(state: State, caller: Caller) -> None:
    """The time decides, not when a sweep stores it; what has failed stays failed."""
    state.ask(caller, 1)
    failed = state.ask(caller, 2)
    jobs.cancel(state.db, failed.id, "No.", state.now)
    state.now += timedelta(hours=state.settings.retention_hours)
    assert [report.state for report in shown(state, caller, StateFilter.EXPIRED).reports] == ["expired"]
    assert [report.id for report in shown(state, caller, StateFilter.FAILED).reports] == [failed.id]
    assert not shown(state, caller, StateFilter.UNFINISHED).reports


def test_pages_hold_each_report_once_in_order(state: State, caller: Caller) -> None:
    """Newest first, also where many were asked for in the same millisecond; new ones don't shift a page."""
    state.ask(caller)
    with writing(state.db) as connection:
        row = dict(connection.execute(REPORTS.select()).mappings().one())
        times = [state.now - timedelta(milliseconds=number // 40) for number in range(PAGE * 2 + 20)]
        more = [
            {**row, "id": f"r{number:04}", "token": f"t{number}", "status": "FAILED", "reason": "No.", "created_at": at}
            for number, at in enumerate(times)
        ]
        connection.execute(REPORTS.insert(), more)
    pages = [shown(state, caller)]
    while pages[-1].next is not None:
        state.ask(replace(caller), len(pages) + 1)
        pages.append(shown(state, caller, after=Cursor.parse(str(pages[-1].next))))
    order = [(report.created_at, report.id) for page in pages for report in page.reports]
    assert order == sorted(order, reverse=True)
    assert len({name for _, name in order}) == len(order) == PAGE * 2 + 21
    assert [len(page.reports) for page in pages] == [PAGE, PAGE, 21]


@pytest.mark.parametrize(
    "text", ["", "x", "1-", "-a", "1-A", "99999999999999999-a", "999999999999999-a", "1-a-b", "\uff11-a"]
)
def test_any_other_text_is_no_cursor(text: str) -> None:
    """Whatever stands in the address is no error."""
    assert Cursor.parse(text) is None


def test_reports_of_other_organizations_are_in_no_list(state: State, caller: Caller) -> None:
    """Neither their reports nor their waiting ones' places."""
    state.organization("rival", "d")
    rival = state.caller(state.key("rival"))
    foreign = state.ask(rival)
    own = state.ask(caller)
    assert [(report.id, report.place) for report in shown(state, caller).reports] == [(own.id, 1)]
    found = report_list.find_listed_report(state.db, Reach(caller.organization_id), foreign.id, state.now)
    assert found is None


def test_a_report_of_studio_says_who_asked(state: State, caller: Caller) -> None:
    """Who asked in Studio is in the list; asked again, the same report is found, whoever asks."""
    studio = identify_studio(state.db, Reach(caller.organization_id), state.now)
    assert identify_studio(state.db, Reach(caller.organization_id), state.now) == studio
    assert studio.channels == caller.channels
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 2))
    asked = [
        ask_report(state.db, state.settings, studio, query, state.now, Actor(email, "192.0.2.1")).id
        for email in ("ann@demo.example", "mia@demo.example")
    ]
    assert asked[0] == asked[1]
    assert [report.asked_by for report in shown(state, caller).reports] == ["ann@demo.example"]


INSIDE = "s3://tables/eu/plays: the object store fails: GET http://127.0.0.1:25501/tables?list-type=2"
LATE = "It was not made in 60 seconds."


@pytest.fixture
def asked(state: State) -> FoundReport:
    """A report of the organization `demo`."""
    state.organization("demo", "c")
    return state.ask(state.caller(state.key("demo")))


def claim(state: State, report: FoundReport) -> Claim:
    """The job of the report, taken by a worker that makes nothing else."""
    found = jobs.claim(state.db, "w", running=9, lease_seconds=30)
    assert found is not None
    assert found.report_id == report.id
    return found


def read(state: State, report: FoundReport) -> str:
    """What its people read of it."""
    found = report_list.find_listed_report(state.db, Reach(1), report.id, state.now)
    assert found is not None
    return str(found.reason)


def read_by_wire(state: State, report: FoundReport) -> Failure | None:
    """What a program reads of it."""
    caller = state.caller(state.key("demo"))
    found = report_access.find_report(state.db, caller, report.token, state.now)
    assert found is not None
    return found.details.failure


def describe(reason: FailureReason) -> Failure:
    """What a program reads of a report that failed for this reason, without a text of its own."""
    return Failure(reason.value, reason.sentence, reason.advice)


def read_as_operator(state: State, report: FoundReport) -> str:
    """What an operator reads of it."""
    return str(backlog.get_entry(state.db, report.id).reason)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (StorageError.code, FailureReason.NOT_MADE),
        (DiskFull.code, FailureReason.NO_ROOM),
        (EngineUnavailable.code, FailureReason.UNAVAILABLE),
        (StoreUnavailable.code, FailureReason.UNAVAILABLE),
        (OutOfMemory.code, FailureReason.TOO_LARGE),
    ],
)
def test_a_failed_report_says_what_to_do_and_nothing_of_the_inside(
    state: State, asked: FoundReport, code: str, reason: FailureReason
) -> None:
    """The partner reads a sentence and advice by the kind of error, by wire and Studio; the operator the error."""
    assert jobs.fail(state.db, claim(state, asked), INSIDE, state.now, code=code)
    assert read_by_wire(state, asked) == describe(reason)
    assert read(state, asked) == f"{reason.sentence} {reason.advice}"
    assert read_as_operator(state, asked) == INSIDE


def test_a_waiting_report_says_what_for(state: State, asked: FoundReport) -> None:
    """The same while it is tried again, or waits for room or the engine."""
    assert jobs.retry(state.db, claim(state, asked), INSIDE, 0, code=StorageError.code)
    assert read(state, asked) == "the platform could not make it yet: it tries again by itself"
    assert jobs.wait_for_room(state.db, claim(state, asked), INSIDE, 0, code=DiskFull.code)
    assert read(state, asked) == "the platform has no room for it now: it goes on by itself"
    assert jobs.wait_for_room(state.db, claim(state, asked), INSIDE, 0, code=EngineUnavailable.code)
    assert read(state, asked) == "a part of the platform is away: it goes on by itself"
    assert read_as_operator(state, asked) == INSIDE


def test_a_lost_process_is_told_without_its_signal(state: State, asked: FoundReport) -> None:
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
    assert read_by_wire(state, asked) == describe(FailureReason.TOO_LARGE)
    assert read(state, asked) == f"{FailureReason.TOO_LARGE.sentence} {FailureReason.TOO_LARGE.advice}"
    assert "REELPORT_WORKER_MEMORY" in read_as_operator(state, asked)


def test_a_process_that_is_only_silent_is_not_said_to_have_ended(state: State, asked: FoundReport) -> None:
    """A lease that ran out tells no more than that."""
    claim(state, asked)
    with state.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET leased_until = 1"))
    assert deaths.requeue_overdue(state.db, 30) == (asked.id,)
    assert read(state, asked) == "its process gave no sign of life, which is not its fault: it is made again"


@pytest.mark.parametrize(
    ("code", "own", "reason"),
    [
        (ReasonCode.TOO_LATE, LATE, FailureReason.TOO_LATE),
        (QueryRefused.code, "metrics.0: No metric.", FailureReason.REFUSED),
    ],
)
def test_what_is_about_the_request_stays_as_it_is(
    state: State, asked: FoundReport, code: str, own: str, reason: FailureReason
) -> None:
    """Its words are the partner's: it says what was wrong, and the reason what to change."""
    assert jobs.fail(state.db, claim(state, asked), own, state.now, code=code)
    assert read_by_wire(state, asked) == Failure(reason.value, own, reason.advice)
    assert read(state, asked) == f"{own} {reason.advice}"


def test_a_cancelled_report_says_by_whom(state: State, asked: FoundReport) -> None:
    """Also after an attempt that failed."""
    assert jobs.retry(state.db, claim(state, asked), INSIDE, 0, code=StorageError.code)
    backlog.cancel(state.db, asked.id, state.now)
    own, reason = "It was cancelled by an operator.", FailureReason.CANCELLED
    assert read_by_wire(state, asked) == Failure(reason.value, own, reason.advice)
    assert read(state, asked) == f"{own} {reason.advice}"


def test_a_reason_of_an_older_version_tells_nothing(state: State, asked: FoundReport) -> None:
    """It has no code: who knows what is in it."""
    assert jobs.fail(state.db, claim(state, asked), INSIDE, state.now)
    with state.db.begin() as connection:
        connection.execute(text("UPDATE reports SET reason_code = NULL"))
    assert read_by_wire(state, asked) == describe(FailureReason.NOT_MADE)
    assert read(state, asked) == f"{FailureReason.NOT_MADE.sentence} {FailureReason.NOT_MADE.advice}"

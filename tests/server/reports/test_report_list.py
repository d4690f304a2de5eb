"""The list of an organization's reports, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from tests.server.conftest import State

from reelport.query import ReportQuery
from reelport.server.access.audit_log import Actor
from reelport.server.access.callers import Caller
from reelport.server.access.keys import identify_studio
from reelport.server.files import report_files
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs
from reelport.server.reports import report_list
from reelport.server.reports.ask import ask_report
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
    return report_list.list_reports(state.db, state.settings, caller.organization_id, state.now, shown=by, after=after)


def test_each_report_says_what_it_is_in(state: State, caller: Caller) -> None:
    """The place in the queue, the bytes that were written, rows and bytes, the reason; filters leave the others out."""
    asked = [state.ask(caller, day).id for day in range(1, 6)]
    first, second = (jobs.claim(state.db, "w", running=9, lease_seconds=30) for _ in range(2))
    assert first
    assert second
    assert jobs.finish(state.db, first, FILE, state.now + timedelta(seconds=3))
    report_files.prepare_draft(state.settings, second.report_id, second.attempt).write_bytes(b"1234567")
    jobs.cancel(state.db, asked[2], "No.", state.now)
    found = {report.id: report for report in shown(state, caller).reports}
    assert [found[name].state for name in asked] == ["finished", "running", "failed", "waiting", "waiting"]
    assert (found[asked[0]].rows, found[asked[0]].bytes, found[asked[0]].seconds) == (1, 2, 3)
    assert (found[asked[1]].written, found[asked[2]].reason) == (7, "No.")
    assert [found[name].place for name in asked] == [None, None, None, 1, 2]
    by = {each: {report.id for report in shown(state, caller, each).reports} for each in StateFilter}
    assert by[StateFilter.ALL] == set(asked)
    assert by[StateFilter.UNFINISHED] == {asked[1], asked[3], asked[4]}
    assert (by[StateFilter.FINISHED], by[StateFilter.FAILED]) == ({asked[0]}, {asked[2]})
    counts = report_list.count_by_filter(state.db, caller.organization_id, state.now)
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
    found = report_list.find_listed_report(state.db, state.settings, caller.organization_id, foreign.id, state.now)
    assert found is None


def test_a_report_of_studio_says_who_asked(state: State, caller: Caller) -> None:
    """Who asked in Studio is in the list; asked again, the same report is found, whoever asks."""
    studio = identify_studio(state.db, caller.organization_id, state.now)
    assert identify_studio(state.db, caller.organization_id, state.now) == studio
    assert studio.channels == caller.channels
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 1, 2))
    asked = [
        ask_report(state.db, state.settings, studio, query, state.now, Actor(email, "192.0.2.1")).id
        for email in ("ann@demo.example", "mia@demo.example")
    ]
    assert asked[0] == asked[1]
    assert [report.asked_by for report in shown(state, caller).reports] == ["ann@demo.example"]

"""Looks and waits that record a report's status in the ledger, and keep the lease on its row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import REPORT, Time, looked
from tests.client.flows.flow_driver import ASKED, FlowDriver, ask, page, reply

from reelport import Client
from reelport.client.events import Event, Looked, Retrying, Reused, ignore_event
from reelport.client.flows import lifecycle
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import State
from reelport.client.reports import Report
from reelport.client.session import Session
from reelport.client.steps import Lost, Open, Wait
from reelport.errors import ReportExpired
from reelport.query import ReportQuery
from reelport.testing import Vendor


def test_a_wait_keeps_its_row_while_the_service_is_away(
    session: Session, time: Time, query: ReportQuery, tmp_path: Path
) -> None:
    """For ten minutes, twice as long as a lease: no other machine takes the wait for dead, or the report for unseen."""
    ledger = Ledger(tmp_path / "ledger.db", lambda: time.day + timedelta(seconds=time.seconds))
    session = replace(session, ledger=ledger)
    row = FlowDriver(time, reply(ASKED)).drive(ask(session, query, ignore_event))
    rows: list[tuple[State, timedelta]] = []

    def tell(event: Event) -> None:
        found = ledger.get(row.id)
        if isinstance(event, Retrying) and found and found.leased_until:
            rows.append((found.state, found.leased_until - time.day - timedelta(seconds=time.seconds)))

    away = [Lost("connection refused", sent=False)] * 60
    last = reply(looked("FINISHED", "https://files.example.org/1"))
    FlowDriver(time, reply(looked("IN_PROGRESS")), *away, last).drive(lifecycle.wait(session, REPORT, tell, row=row))
    assert {state for state, _ in rows} == {State.RUNNING}
    assert min(left for _, left in rows) > timedelta(minutes=2)
    found = ledger.get(row.id)
    assert found is not None
    assert (found.state, found.owner) == (State.FINISHED, row.owner)


def test_a_wait_keeps_its_row_while_another_flow_renews_the_token(
    session: Session, time: Time, query: ReportQuery, tmp_path: Path
) -> None:
    """The service may be away for the one that renews it, and all others wait for that one."""
    ledger = Ledger(tmp_path / "ledger.db", lambda: time.day + timedelta(seconds=time.seconds))
    session = replace(session, ledger=ledger)
    hand = FlowDriver(time, reply(ASKED))
    row = hand.drive(ask(session, query, ignore_event))
    hand.answers = [reply(looked("IN_PROGRESS"))]
    waiting = lifecycle.wait(session, REPORT, ignore_event, row=row)
    step = next(waiting)
    while not isinstance(step, Wait):
        step = waiting.send(hand.take(step))
    session.access.grant = None
    with session.access.turn:
        until = time.seconds + 90
        while time.seconds < until:
            step = waiting.send(hand.take(step))
    found = ledger.get(row.id)
    assert found is not None
    assert found.leased_until is not None
    assert found.leased_until - time.day - timedelta(seconds=time.seconds) > timedelta(minutes=4)


def test_a_look_keeps_its_row_while_it_reads_pages_of_links(
    session: Session, time: Time, query: ReportQuery, tmp_path: Path
) -> None:
    """Hundreds of pages may take longer than a lease: no other machine takes the row, or waits for its slot."""
    ledger = Ledger(tmp_path / "ledger.db", lambda: time.day + timedelta(seconds=time.seconds))
    session = replace(session, ledger=ledger)
    row = FlowDriver(time, reply(ASKED)).drive(ask(session, query, ignore_event))
    hand = FlowDriver(time, *[page("https://f/1", more=True)] * 4, page("https://f/1"))
    hand.answering = 120.0
    looking = lifecycle.look(session, REPORT, ignore_event, row=row)
    step, rows = next(looking), []
    with suppress(StopIteration):
        while True:
            step = looking.send(hand.take(step))
            if isinstance(step, Open) and len(hand.sent) > 1 and (found := ledger.get(row.id)) and found.leased_until:
                rows.append((found.state, found.leased_until - time.day - timedelta(seconds=time.seconds)))
    assert {state for state, _ in rows} == {State.FINISHED}
    assert min(left for _, left in rows) > timedelta(minutes=4)


@pytest.mark.parametrize("see", [Report.refresh, Report.wait, Report.download])
def test_what_an_attached_report_is_seen_to_be_is_in_the_ledger(
    vendor: Vendor, client: Client, query: ReportQuery, to: Path, see: Callable[[Report], object]
) -> None:
    """Whoever asked may have been killed: jobs list shows the newest state, and the next run asks anew at once."""
    token = client.reports.submit(query).token
    vendor.expires_after = 0.0
    with suppress(ReportExpired):
        see(client.reports.attach(token))
    vendor.expires_after = None
    assert [(row.token, row.state) for row in client.session.ledger.list_rows()] == [(token, State.EXPIRED)]
    looks = vendor.looks
    assert client.reports.run(query, to).rows
    assert vendor.looks == looks + 1


@pytest.mark.parametrize("see", [Report.refresh, Report.wait, Report.download])
def test_a_look_at_an_attached_report_keeps_no_dead_process_alive(
    vendor: Vendor, client: Client, query: ReportQuery, see: Callable[[Report], object]
) -> None:
    """The process that asked died on another machine: its report is everybody's to look at, and can be forgotten."""
    token, ledger = client.reports.submit(query).token, client.session.ledger
    with closing(sqlite3.connect(ledger.path)) as db, db:
        db.execute("UPDATE reports SET owner = 'elsewhere:4711::1', leased_until = '2026-01-01T00:00:00+00:00'")
    vendor.link_expires = 0.0
    with suppress(ReportExpired):
        see(client.reports.attach(token))
    for row in ledger.list_rows():
        assert row.find_worker(client.session.clock.now()) is None
        ledger.forget(row)


def test_a_report_that_has_expired_is_submitted_anew(vendor: Vendor, client: Client, query: ReportQuery) -> None:
    """An earlier report serves only while the service has it."""
    earlier = client.reports.submit(query)
    vendor.expires_after = 0.0
    events: list[type[Event]] = []

    def reuse_once(event: Event) -> None:
        events.append(type(event))
        assert events.count(Reused) <= 1, "a report that is gone is reused again and again"

    assert client.reports.submit(query, progress=reuse_once).token != earlier.token
    assert [row.state for row in client.session.ledger.list_rows()] == [State.EXPIRED, State.REQUESTED]


@pytest.mark.parametrize("see", [Report.refresh, Report.wait])
def test_a_report_that_is_seen_finished_frees_its_slot(
    client: Client, query: ReportQuery, see: Callable[[Report], object]
) -> None:
    """The ledger knows it from the one look, and jobs list says that it can be downloaded."""
    token = client.reports.submit(query).token
    see(client.reports.attach(token))
    assert [(row.token, row.state) for row in client.session.ledger.list_rows()] == [(token, State.FINISHED)]


def test_a_report_that_is_gone_once_its_link_is_used_is_asked_for_anew(
    vendor: Vendor, client: Client, query: ReportQuery, to: Path
) -> None:
    """A run that found it finished finds link and report expired, as after a pause of its machine: the file comes."""
    client.reports.submit(query)

    def expire(event: Event) -> None:
        if isinstance(event, Looked) and len(vendor.asks) == 1:
            vendor.expires_after = 0.0
            vendor.expire_links()

    def keep_the_next(_: object) -> None:
        vendor.expires_after = None

    vendor.refuses = keep_the_next
    assert client.reports.run(query, to, progress=expire).path == to
    assert len(vendor.asks) == 2
    assert [row.state for row in client.session.ledger.list_rows()] == [State.EXPIRED, State.VERIFIED]


@pytest.mark.parametrize("answer", [looked("EXPIRED"), {"data": {"partner": {"reportFile": None}}}])
def test_a_look_records_that_a_report_has_expired(
    session: Session, time: Time, query: ReportQuery, tmp_path: Path, answer: dict[str, Any]
) -> None:
    """By its status, or as the service no longer knows it: the next ask for the query asks anew."""
    session = replace(session, ledger=Ledger(tmp_path / "ledger.db", lambda: time.day))
    row = FlowDriver(time, reply(ASKED)).drive(ask(session, query, ignore_event))
    with suppress(ReportExpired):
        FlowDriver(time, reply(answer)).drive(lifecycle.look(session, REPORT, ignore_event, row=row))
    found = session.ledger.get(row.id)
    assert found is not None
    assert (found.state, found.owner) == (State.EXPIRED, None)


def test_a_look_waits_for_no_process_that_writes_to_the_ledger(
    session: Session, time: Time, query: ReportQuery, tmp_path: Path
) -> None:
    """Between two heartbeats there is nothing to write, and a ledger that is held for long ends no wait."""
    session = replace(session, ledger=Ledger(tmp_path / "ledger.db", lambda: time.day))
    row = FlowDriver(time, reply(ASKED)).drive(ask(session, query, ignore_event))
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")))
    hand.drive(lifecycle.look(session, REPORT, ignore_event, row=row))
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        state = hand.drive(lifecycle.look(session, REPORT, ignore_event, row=row))
    assert state.status == "IN_PROGRESS"

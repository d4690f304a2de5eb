"""Looks and waits that record a report's status in the ledger, and keep the lease on its row."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import REPORT, Time, looked
from tests.client.flows.flow_driver import ASKED, FlowDriver, ask, reply

from reelport.client.events import Event, Retrying, ignore_event
from reelport.client.flows import lifecycle
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import State
from reelport.client.session import Session
from reelport.client.steps import Lost, Wait
from reelport.errors import (
    ReportExpired,
)
from reelport.query import ReportQuery


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

"""The trace that is kept with a report is that of whoever asked for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select
from tests.server.conftest import State
from tests.server.traces.collector import collecting

from reelport.server.state.database import reading
from reelport.server.state.tables import REPORTS
from reelport.server.traces import tracing

ASKS = 24


def test_asks_at_once_keep_each_its_own_trace(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's writes of several threads share a transaction, which one of them runs for all."""
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    together = Barrier(8)

    def ask(number: int) -> tuple[str, str]:
        together.wait()
        with tracing.span("request") as span:
            return state.ask(caller, number).id, span.trace_id

    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with tracing.traced("test"), ThreadPoolExecutor(8) as pool:
            asked = dict(pool.map(ask, range(1, ASKS + 1)))
    with reading(state.db) as connection:
        kept = connection.execute(select(REPORTS.c.id, REPORTS.c.traceparent)).all()
    assert {report: str(traceparent).split("-")[1] for report, traceparent in kept} == asked
    assert len(set(asked.values())) == ASKS

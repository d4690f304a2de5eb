"""The trace of a report leads through the processes that ask for it, make it and hand it out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from tests.engine.aggregators import ByParquet
from tests.engine.few import ME, play
from tests.engine.world import laid
from tests.patience import until
from tests.server.api import ASK, INPUT, Api, open_api
from tests.server.traces.collector import Collector, collecting

from reelport.engine.compile import plan_pieces
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.tenant import Tenant
from reelport.query import ReportQuery
from reelport.server.events.bus import Kind, subscribe
from reelport.server.queue import backlog
from reelport.server.queue.attempt import TracedAggregator, choose_aggregator
from reelport.server.queue.jobs import Claim
from reelport.server.queue.worker import Worker
from reelport.server.settings import read_settings
from reelport.server.traces import tracing
from reelport.wire import GRAPHQL_PATH

TRACE, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
DAY = date(2023, 7, 1)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that this process's traces are sent to."""
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield found


def ask(api: Api) -> str:
    """Ask as a caller who is in a trace; the token of the report."""
    body = json.dumps({"query": ASK, "variables": {"input": INPUT}}).encode()
    answer = api.post(body, traceparent=f"00-{TRACE}-{CALLERS_SPAN}-01").json()
    token: str = answer["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    return token


def work(api: Api, spill: Path, token: str) -> None:
    """Be the worker that makes the report."""
    service = api.service
    with QueryEngine("200MB", 1, spill) as engine, subscribe(service.db, Kind.REPORT_QUEUED) as events:
        worker = Worker(service.settings, service.db, engine, "one", events)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            assert until(lambda: backlog.get_entry(service.db, token).state == "finished")
        finally:
            worker.stop()
            thread.join()


def test_one_trace_leads_from_the_ask_to_the_file(collector: Collector, tmp_path: Path) -> None:
    """The API ends its traces before the worker begins its own: what leads on is kept with the report."""
    with open_api(read_settings(data=tmp_path / "data", workers=0)) as api:
        with tracing.traced("api"):
            token = ask(api)
        with tracing.traced("worker"):
            work(api, tmp_path / "spill", token)
        with tracing.traced("api"):
            assert api.client.get(api.link(token)).text == "day,views\n"
    ours = {span.name: span for span in collector.spans if span.trace_id == TRACE}
    request, asked, made = ours.pop(f"POST {GRAPHQL_PATH}"), ours.pop("ask report"), ours.pop("make report")
    assert (request.parent_id, asked.parent_id, made.parent_id) == (CALLERS_SPAN, request.span_id, asked.span_id)
    assert (asked.resource["reelport.role"], made.resource["reelport.role"]) == ("api", "worker")
    assert ours.pop("wait in queue").parent_id == asked.span_id
    assert {name: span.parent_id for name, span in ours.items()} == dict.fromkeys(
        ("pin tables", "write report", "publish file"), made.span_id
    )
    (download,) = collector.named("GET /files")
    assert (download.links, download.trace_id != TRACE) == ((TRACE,), True)


def test_what_another_engine_aggregates_is_a_span_of_the_report(collector: Collector, tmp_path: Path) -> None:
    """By its name and days, within the span in which the report is written; chosen so for reports of Spark."""
    query, tenant = ReportQuery.of(["VIEWS"], ["DAY"], DAY, DAY), Tenant(ME)
    claim = Claim("r", "one", 1, query, ME, None)
    settings = read_settings(data=tmp_path, engine="sc://spark", spark_from_rows=0)
    with QueryEngine("200MB", 1, tmp_path / "spill") as engine, tracing.traced("worker"):
        snapshot = laid({"plays": [play(f"{DAY}T05:00:00")]}, tmp_path / "facts", engine).snapshot
        with tracing.span("write report"):
            with choose_aggregator(claim, snapshot, settings, engine.session()) as (chosen, _):
                assert isinstance(chosen, TracedAggregator)
            pieces = plan_pieces(
                query, tenant, snapshot, aggregator=TracedAggregator(ByParquet(tmp_path / "parts"), "spark")
            )
            engine.session().write(pieces, tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == f"day,views\n{DAY},1\n"
    (span,), (whole,) = collector.named("aggregate"), collector.named("write report")
    assert span.attributes == {"reelport.aggregator": "spark", "reelport.days": f"{DAY}/{DAY}"}
    assert (span.trace_id, span.parent_id) == (whole.trace_id, whole.span_id)
    assert whole.attributes["reelport.aggregator"] == "spark"

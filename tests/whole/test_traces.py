"""Traces of a real service: one from ask to file, over processes and a restart; no report waits for one."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from datetime import date
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.patience import until
from tests.server.traces.collector import Collector, SentSpan, collecting
from tests.warm_service import Service

from reelport.testing import Channel
from reelport.wire import ASK, GRAPHQL_PATH

from .partner import Partner

CALLERS_TRACE, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, PRODUCER, CONSUMER = 2, 4, 5
INPUT = {"metrics": ["VIEWS"], "dimensions": ["DAY"], "startDate": "2026-01-01", "endDate": "2026-01-02"}


def ask(partner: Partner) -> str:
    """Ask for a report as a program whose own OpenTelemetry sends a `traceparent`, then again without; its token."""
    connection = HTTPConnection("127.0.0.1", int(partner.service.url.rpartition(":")[2]), timeout=300)
    headers = {"Authorization": f"Bearer {partner.token}", "Content-Type": "application/json"}
    tokens = []
    with closing(connection):
        for more in ({"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"}, {}):
            body = json.dumps({"query": ASK, "variables": {"input": INPUT}})
            connection.request("POST", GRAPHQL_PATH, body, headers | more)
            reply = json.load(connection.getresponse())
            tokens.append(reply["data"]["askPartnerReportFile"]["reportFile"]["reportToken"])
    token: str = tokens[0]
    assert tokens[1] == token
    return token


def variables(url: str, **more: str) -> dict[str, str]:
    """What an operator sets to send traces there."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100", **more}


def add_partner(service: Service) -> Partner:
    """A partner with a channel, facts and a token."""
    service.organization("demo", [Channel("demo-channel-1", "demo-one")])
    service.sample(date(2026, 1, 1), date(2026, 1, 2), rows=1000)
    partner = Partner(service, service.key("demo"))
    partner.look("rpr_" + "0" * 43)
    return partner


def the_one(collector: Collector, name: str) -> SentSpan:
    """The one span of this name in the caller's trace."""
    assert until(lambda: any(span.trace_id == CALLERS_TRACE for span in collector.named(name))), name
    (span,) = [span for span in collector.named(name) if span.trace_id == CALLERS_TRACE]
    return span


@pytest.mark.long
def test_one_trace_leads_from_the_ask_to_the_file_over_processes_and_a_restart(tmp_path: Path) -> None:
    """The caller's trace goes on in the API, in a worker of the next start, and is linked by the download."""
    with collecting() as collector:
        with Service(tmp_path, workers=0, environment=variables(collector.url)) as service:
            partner = add_partner(service)
            token = ask(partner)
            assert until(lambda: len(collector.named(f"POST {GRAPHQL_PATH}")) == 3)
            # Before the process ends: it gives its last spans two seconds.
            request, asked = the_one(collector, f"POST {GRAPHQL_PATH}"), the_one(collector, "ask report")
        with Service(tmp_path, environment=variables(collector.url)) as service:
            partner.service = service
            file = partner.fetch(token)
            assert until(lambda: collector.named("GET /files"))
            waited, made = the_one(collector, "wait in queue"), the_one(collector, "make report")
            steps = [the_one(collector, name) for name in ("pin tables", "write report", "publish file")]
            log = service.log
        assert file.startswith(b"day,views")

        assert (request.parent_id, request.kind) == (CALLERS_SPAN, SERVER)
        assert (asked.parent_id, asked.kind) == (request.span_id, PRODUCER)
        assert (waited.parent_id, made.parent_id, made.kind) == (asked.span_id, asked.span_id, CONSUMER)
        assert {step.parent_id for step in steps} == {made.span_id}
        assert request.attributes["http.response.status_code"] == 200
        assert request.began <= asked.began
        assert waited.began < waited.ended <= made.began + 1_000_000
        report = asked.attributes["reelport.report.id"]
        assert made.attributes["reelport.report.id"] == report
        assert the_one(collector, "write report").attributes["reelport.aggregator"] == "duckdb"
        assert made.attributes["reelport.report.rows"] == 2
        assert (request.resource["service.name"], request.resource["reelport.role"]) == ("reelport", "api")
        assert made.resource["reelport.role"] == "worker"

        (download,) = collector.named("GET /files")
        assert download.links == (CALLERS_TRACE,)
        assert download.trace_id != CALLERS_TRACE
        (line,) = [json.loads(line) for line in log.splitlines() if '"report finished"' in line]
        assert (line["trace_id"], line["report"]) == (CALLERS_TRACE, report)
        sent = b"".join(collector.bodies)
        for hidden in (
            token,
            partner.token,
            partner.key.id,
            partner.key.secret,
            "demo-one",
            "demo-channel-1",
            "VIEWS",
        ):
            assert hidden.encode() not in sent, hidden
        assert not [span for span in collector.spans if span.failed]


@pytest.mark.long
def test_a_collector_that_never_answers_slows_no_report() -> None:
    """Reports are made and fetched; what is lost of traces is logged, and the service ends without waiting for it."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        limits = {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.5", "OTEL_BSP_MAX_QUEUE_SIZE": "4"}
        batches = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
        with Service(environment=variables(url, **limits, **batches)) as service:
            partner = add_partner(service)

            def is_lost() -> bool:
                # As many as a slow machine needs to fill the queue faster than it is given up.
                assert partner.fetch(ask(partner)).startswith(b"day,views")
                return "Queue full, dropping" in service.log and "Failed to export" in service.log

            assert until(is_lost)
            assert "Traceback" not in service.log

"""When traces are recorded, and what keeps them from it."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import structlog
from structlog.testing import capture_logs
from tests.patience import until

from reelport.server.traces import tracing
from reelport.server.traces.span import Kind

from .collector import collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*tracing.ENDPOINTS, "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    structlog.reset_defaults()


def test_nothing_is_recorded_unless_a_collector_is_set() -> None:
    """Without an endpoint a span has no id, and what is done with it does nothing."""
    with tracing.traced("test"), tracing.span("step", parent=PARENT) as span:
        span.set("name", "value")
        span.fail("code")
        span.link(PARENT)
        assert (span.trace_id, span.traceparent, tracing.is_on()) == ("", None, False)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "reports"}, False),
    ],
)
def test_the_standard_variables_say_whether_traces_are_recorded(variables: dict[str, str], wanted: bool) -> None:
    """An endpoint switches them on; the SDK's own switches switch them off."""
    assert tracing.is_wanted(variables) is wanted


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_BSP_MAX_QUEUE_SIZE": "4"}],
)
def test_a_wrong_variable_is_logged_and_raises_nothing(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A protocol that isn't spoken here, a queue smaller than a batch: the service runs on without traces."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as lines, tracing.traced("test"):
        assert not tracing.is_on()
    assert [line["event"] for line in lines] == ["no traces are recorded"]


def test_spans_lie_within_each_other_and_continue_a_callers_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A span's parent is the given one, else the one around it; a wait ends where it is told of."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "reports")
        with tracing.traced("test"):
            with tracing.span("outer", kind=Kind.SERVER, parent=PARENT) as outer, tracing.span("inner"):
                assert outer.trace_id == tracing.current_span().trace_id == TRACE
            tracing.record_wait("wait", outer.traceparent, timedelta(seconds=3), {"reelport.report.id": "r1"})
            tracing.record_wait("wait", None, timedelta(seconds=3), {})
            with tracing.span("own", parent="no traceparent") as own:
                own.fail("out_of_memory")
                own.link(PARENT)
                own.link("neither")
        assert until(lambda: len(collector.spans) == 4)
    spans = {span.name: span for span in collector.spans}
    assert spans["outer"].parent_id == "00f067aa0ba902b7"
    assert spans["inner"].parent_id == spans["wait"].parent_id == spans["outer"].span_id
    assert spans["wait"].ended - spans["wait"].began == 3_000_000_000
    assert (spans["own"].parent_id, spans["own"].links, spans["own"].failed) == ("", (TRACE,), True)
    assert spans["own"].attributes == {"error.type": "out_of_memory"}
    assert spans["outer"].resource["service.name"] == "reports"


def test_a_callers_unsampled_trace_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flag goes on to whoever continues it, and log lines still carry its id."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with tracing.traced("test"):
            with tracing.span("quiet", parent=f"{PARENT[:-2]}00") as span:
                assert span.traceparent is not None
                assert span.traceparent.endswith("-00")
                assert span.trace_id == TRACE
            with tracing.span("heard"):
                pass
        assert until(lambda: collector.spans)
    assert [span.name for span in collector.spans] == ["heard"]


def test_a_process_that_ends_does_not_wait_for_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end returns while the exporter still waits for an answer."""
    gate = threading.Event()
    with collecting(gate) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        with tracing.traced("test"), tracing.span("last"):
            pass
        (ending,) = (thread for thread in threading.enumerate() if thread.name == "traces-end")
        assert collector.spans == []
        gate.set()
        ending.join()

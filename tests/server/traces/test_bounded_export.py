"""What happens to spans that a collector doesn't take."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer
from structlog.testing import capture_logs
from tests.patience import until

from reelport.server.traces.bounded_export import BoundedExport
from reelport.server.traces.span import Drop


class Gate(SpanExporter):
    """Takes batches only while it is open, and gives the result that it is told to give."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.result = SpanExportResult.SUCCESS
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait until it is open."""
        self.opened.wait()
        self.names += [span.name for span in spans]
        return self.result


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """An exporter behind a queue of four spans."""
    for name, value in (("MAX_QUEUE_SIZE", "4"), ("MAX_EXPORT_BATCH_SIZE", "2"), ("SCHEDULE_DELAY", "20")):
        monkeypatch.setenv(f"OTEL_BSP_{name}", value)
    structlog.reset_defaults()
    gate = Gate()
    yield gate
    gate.opened.set()


def make_tracer(export: BoundedExport) -> Tracer:
    """A tracer whose spans go there."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    return provider.get_tracer("test")


def test_spans_beyond_the_limit_are_dropped_and_counted(gate: Gate) -> None:
    """While nothing is taken, four wait, the others are dropped, and no span waits for room; then the four are sent."""
    export = BoundedExport(gate)
    tracer = make_tracer(export)
    with capture_logs() as lines:
        for number in range(10):
            tracer.start_span(str(number)).end()
    assert export.take_dropped() == {Drop.FULL: 6}
    assert export.take_dropped() == {}
    assert [line["why"] for line in lines if "traces are lost" in line["event"]] == ["queue full"]
    gate.opened.set()
    assert until(lambda: len(gate.names) == 4)
    assert gate.names == ["0", "1", "2", "3"]
    tracer.start_span("later").end()
    assert until(lambda: gate.names[-1] == "later")
    assert export.take_dropped() == {}


def test_an_outage_is_said_once_and_its_end_too(gate: Gate) -> None:
    """Batches that can't be sent are given up and counted; the log has a line for the first, and for the end."""
    gate.opened.set()
    gate.result = SpanExportResult.FAILURE
    export = BoundedExport(gate)
    tracer = make_tracer(export)
    dropped: Counter[Drop] = Counter()

    def drop_one() -> None:
        tracer.start_span("lost").end()
        before = dropped.total()

        def is_counted() -> bool:
            dropped.update(export.take_dropped())
            return dropped.total() > before

        assert until(is_counted)

    with capture_logs() as lines:
        for _ in range(3):
            drop_one()
        gate.result = SpanExportResult.SUCCESS
        tracer.start_span("sent").end()
        assert until(lambda: any(line["event"] == "traces are sent again" for line in lines))
    assert dropped == {Drop.NOT_SENT: 3}
    assert [line["event"] for line in lines].count("traces are lost: the collector doesn't take them") == 1


def test_a_process_that_ends_does_not_wait_for_a_collector(gate: Gate) -> None:
    """Its end gives the last batch two seconds, and no more: the exporter is still at it when it returns."""
    export = BoundedExport(gate)
    make_tracer(export).start_span("last").end()
    export.shutdown()
    assert gate.names == []

"""Records an attempt at a report as spans of the trace in which the report was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from reelport.engine.aggregation import AggregatedRelation, Aggregation, Aggregator
from reelport.facts.log.snapshot import Snapshot
from reelport.server.files.report_files import FileRecord
from reelport.server.queue.jobs import Claim
from reelport.server.traces import tracing
from reelport.server.traces.span import Kind, Span, Value

REPORT_ID = "reelport.report.id"


@contextmanager
def trace_attempt(claim: Claim) -> Iterator[Span]:
    """Record the block as the span of an attempt; before the first, the wait in the queue."""
    name = {REPORT_ID: claim.report_id}
    if claim.attempt == 1:
        tracing.record_wait("wait in queue", claim.traceparent, timedelta(seconds=claim.waited), name)
    attributes: dict[str, Value] = {**name, "reelport.attempt": claim.attempt, "reelport.worker": claim.owner}
    with tracing.span("make report", kind=Kind.CONSUMER, parent=claim.traceparent, attributes=attributes) as span:
        yield span


def note_file(file: FileRecord) -> None:
    """Note in the span of an attempt what it made."""
    span = tracing.current_span()
    span.set("reelport.report.rows", file.rows)
    span.set("reelport.report.bytes", file.bytes)


class TracedAggregator(Aggregator):
    """Records each aggregation as a span.

    For aggregators that take a step of their own: DuckDB aggregates in the statement that writes.
    """

    def __init__(self, other: Aggregator, name: str) -> None:
        self._other = other
        self._name = name

    def aggregate(self, aggregation: Aggregation, snapshot: Snapshot) -> AggregatedRelation:
        """Aggregate as the other does."""
        days = f"{aggregation.resolved.start}/{aggregation.resolved.end}"
        attributes = {"reelport.aggregator": self._name, "reelport.days": days}
        with tracing.span("aggregate", attributes=attributes):
            return self._other.aggregate(aggregation, snapshot)

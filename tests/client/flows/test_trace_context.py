"""A caller's own trace goes on in a Reelport service, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.sdk.trace import TracerProvider
from tests.client.conftest import Time
from tests.client.flows.flow_driver import ASKED, FlowDriver, ask, reply

from reelport.client.events import ignore_event
from reelport.client.flows.operation import make_trace_headers
from reelport.client.session import Session
from reelport.query import ReportQuery

TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("caller")


def ask_within_a_span(session: Session, time: Time, query: ReportQuery) -> tuple[str, Mapping[str, str]]:
    """Ask for a report in a span of the caller's: its trace, and the headers of the ask."""
    hand = FlowDriver(time, reply(ASKED))
    with TRACER.start_as_current_span("the caller's") as span:
        hand.drive(ask(session, query, ignore_event))
        return f"{span.get_span_context().trace_id:032x}", hand.sent[-1].request.headers


def test_an_ask_carries_the_callers_span(session: Session, time: Time, query: ReportQuery) -> None:
    """The service is told the span in which it is asked."""
    session.access.reelport = True
    trace_id, headers = ask_within_a_span(session, time, query)
    assert headers["traceparent"].startswith(f"00-{trace_id}-")
    assert int(headers["traceparent"].rpartition("-")[2], 16) & 1


def test_another_vendor_is_sent_no_trace(session: Session, time: Time, query: ReportQuery) -> None:
    """Only a Reelport service gets the header."""
    session.access.reelport = False
    assert "traceparent" not in ask_within_a_span(session, time, query)[1]


def test_without_a_span_nothing_is_sent() -> None:
    """A program that records nothing sends no header."""
    assert make_trace_headers() == {}

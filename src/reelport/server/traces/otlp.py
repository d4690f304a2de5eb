"""Records spans with OpenTelemetry's SDK; imported only when traces are on.

Sampler, resource, endpoint, headers and timeouts are those of the SDK's own variables.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from reelport.server.traces.span import Kind, Span, Value

STOP_SECONDS = 2.0
"""How long a process that ends waits for its last spans to be sent; the SDK would wait for half a minute."""
_NAME = "reelport"
_TRACEPARENT = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


class OtlpTracer:
    """Records spans and sends them by OTLP over HTTP. Thread-safe."""

    def __init__(self, role: str) -> None:
        is_named = bool(os.environ.get("OTEL_SERVICE_NAME"))
        is_named |= f"{SERVICE_NAME}=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = {"service.version": version(_NAME), "reelport.role": role}
        resource |= {} if is_named else {SERVICE_NAME: _NAME}
        # Ended by `stop`, not at exit: there the SDK would wait half a minute for a collector that is gone.
        self._provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_NAME, version(_NAME))

    @contextmanager
    def record(self, name: str, kind: Kind, parent: str | None, attributes: Mapping[str, Value]) -> Iterator[Span]:
        """Record the block as a span; its parent is a `traceparent`, None: the span around it."""
        with self._tracer.start_as_current_span(
            name,
            context=_read_context(parent),
            kind=trace.SpanKind[kind],
            attributes=attributes,
            # Texts of errors may tell of a partner's question.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _RecordedSpan(span)

    def record_wait(self, name: str, parent: str, waited: timedelta, attributes: Mapping[str, Value]) -> None:
        """Record a span that began so long ago and ends now."""
        now = time.time_ns()
        began = now - max(waited // timedelta(microseconds=1), 0) * 1000
        self._tracer.start_span(name, context=_read_context(parent), attributes=attributes, start_time=began).end(now)

    def current(self) -> Span:
        """The span that this code runs in."""
        return _RecordedSpan(trace.get_current_span())

    def stop(self) -> None:
        """Send what is left, for STOP_SECONDS at most; what is left then is lost with the process."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(STOP_SECONDS)


class _RecordedSpan(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        context = span.get_span_context()
        if context.is_valid:
            self.trace_id = trace.format_trace_id(context.trace_id)
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
            self.traceparent = carrier.get(_TRACEPARENT)

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def link(self, traceparent: str | None) -> None:
        if traceparent is not None:
            context = trace.get_current_span(_read_context(traceparent)).get_span_context()
            if context.is_valid:
                self._span.add_link(context)

    def fail(self, code: str) -> None:
        self._span.set_status(trace.StatusCode.ERROR)
        self._span.set_attribute("error.type", code)


def _read_context(traceparent: str | None) -> Context | None:
    return None if traceparent is None else _PROPAGATOR.extract({_TRACEPARENT: traceparent}, Context())

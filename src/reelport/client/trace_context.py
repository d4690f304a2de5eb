"""Reads the span that the caller's own OpenTelemetry is in, for the service to continue."""

from __future__ import annotations

import sys
from collections.abc import Mapping


def make_trace_headers() -> Mapping[str, str]:
    """Make W3C's `traceparent` of the current span; empty where the caller records none.

    Nothing is imported for it: a program without OpenTelemetry has no span.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not hasattr(trace, "get_current_span"):  # nobody has imported it, or another thread is about to
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"}

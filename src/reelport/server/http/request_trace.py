"""Records a request as a span of its caller's trace, if that has one.

Names and attributes are those of OpenTelemetry's conventions for HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import Scope

from reelport.server.traces import tracing
from reelport.server.traces.span import Kind, Span

_FAILED = 500
"""Statuses from here on are failures of the service; those below are the caller's."""


@contextmanager
def trace_request(scope: Scope, route: str, method: str) -> Iterator[Span]:
    """Record a request within the block.

    Neither its path nor its query is told: they may hold the signature of a link.
    """
    attributes = {"http.request.method": method.replace("other", "_OTHER"), "http.route": route}
    parents = Headers(scope=scope).getlist("traceparent")
    # More than one is none: whoever sent the other meant another trace.
    parent = parents[0] if len(parents) == 1 else None
    with tracing.span(f"{method} {route}", kind=Kind.SERVER, parent=parent, attributes=attributes) as span:
        yield span


def note_answer(span: Span, status: int | None, size: int) -> None:
    """Note the answer of a request: its status, None without one, and the bytes of its body."""
    span.set("http.response.body.size", size)
    if status is not None:
        span.set("http.response.status_code", status)
    if status is None or status >= _FAILED:
        span.fail(str(status) if status else "disconnected")

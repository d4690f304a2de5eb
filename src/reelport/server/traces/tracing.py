"""The traces of this process: on where OpenTelemetry's variables name a collector.

Else nothing is loaded. A span is a `with` block; blocks inside it are its children, in the same thread or task. Nothing
here raises, waits or takes long: a report is made the same way with a collector that is slow or gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from reelport.server.traces.span import Kind, Span, Value
from reelport.wording import advise_extra

if TYPE_CHECKING:
    from reelport.server.traces.otlp import OtlpTracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables that name the collector: traces are recorded when one of them is set."""
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"
_NOT_RECORDED = Span()
_log = structlog.get_logger(__name__)


class _Process:
    """The tracer of this process; None while nothing is recorded."""

    tracer: OtlpTracer | None = None


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the variables ask for traces."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    return not disabled and exporter == "otlp" and any(environment.get(name) for name in ENDPOINTS)


@contextmanager
def traced(role: str) -> Iterator[None]:
    """Record spans in the block if the environment asks for it; what prevents it is logged."""
    if not is_wanted(os.environ):
        yield
        return
    _Process.tracer = _start(role)
    try:
        yield
    finally:
        tracer, _Process.tracer = _Process.tracer, None
        if tracer is not None:
            tracer.stop()


def _start(role: str) -> OtlpTracer | None:
    protocol = next((value for name in _PROTOCOLS if (value := os.environ.get(name))), _HTTP)
    if protocol != _HTTP:
        _log.warning("no traces are recorded", reason=f"The protocol is {protocol}, and only {_HTTP} is spoken here.")
        return None
    try:
        from reelport.server.traces.otlp import OtlpTracer  # noqa: PLC0415 - loads the libraries of an extra

        return OtlpTracer(role)
    except ImportError as error:
        _log.warning("no traces are recorded", reason=f"{error}: {advise_extra('server,traces', 'traces')}.")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the variables, reports are made
        _log.warning("no traces are recorded", reason=f"{type(error).__name__}: {error}")
    return None


def is_on() -> bool:
    """Whether this process records spans."""
    return _Process.tracer is not None


@contextmanager
def span(
    name: str,
    *,
    kind: Kind = Kind.INTERNAL,
    parent: str | None = None,
    attributes: Mapping[str, Value] | None = None,
) -> Iterator[Span]:
    """Record the block as a span; its parent is a `traceparent`, None: the span around it."""
    tracer = _Process.tracer
    if tracer is None:
        yield _NOT_RECORDED
        return
    with tracer.record(name, kind, parent, attributes or {}) as recorded:
        yield recorded


def record_wait(name: str, parent: str | None, waited: timedelta, attributes: Mapping[str, Value]) -> None:
    """Record a wait that ends now, as a child of a span in another process, if there is one."""
    if _Process.tracer is not None and parent is not None:
        _Process.tracer.record_wait(name, parent, waited, attributes)


def current_span() -> Span:
    """The span that this code runs in; one that records nothing outside of any."""
    return _NOT_RECORDED if _Process.tracer is None else _Process.tracer.current()

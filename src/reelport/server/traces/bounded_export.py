"""Sends spans in the background; drops and counts those that no collector takes.

The SDK's own queue drops silently, and its end waits for a collector that is gone.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from reelport.server.traces.span import Drop

STOP_SECONDS = 2.0
"""How long a process that ends waits for its last spans to be sent."""
_LIMIT = "OTEL_BSP_MAX_QUEUE_SIZE"
_SPANS = 2048
"""Spans in memory that are not sent yet, as by the SDK's default."""
_log = structlog.get_logger(__name__)


class BoundedExport(SpanProcessor):
    """Passes ended spans to the SDK's batches while there is room, and counts the others."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._limit = int(os.environ.get(_LIMIT) or _SPANS)
        self._lock = threading.Lock()
        self._pending = 0
        self._dropped: Counter[Drop] = Counter()
        self._losing = False
        self._reason = _LastLine()
        self._batches = BatchSpanProcessor(_ReportingExporter(exporter, self), max_queue_size=self._limit)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: a span is of interest when it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take an ended span, unless as many as may be are waiting."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            has_room = self._pending < self._limit
            self._pending += has_room
        if has_room:
            self._batches.on_end(span)
        else:
            self._drop(Drop.FULL, 1)

    def note_export(self, spans: int, *, sent: bool) -> None:
        """Note that so many spans were sent, or given up."""
        with self._lock:
            self._pending -= spans
            recovered = sent and self._losing
            if sent:
                self._losing = False
        if recovered:
            _log.info("traces are sent again")
        if not sent:
            self._drop(Drop.NOT_SENT, spans)

    def take_dropped(self) -> dict[Drop, int]:
        """Count the spans that were dropped since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, Counter()
        return dict(dropped)

    def shutdown(self) -> None:
        """Send what is left, for STOP_SECONDS at most; what is left then is lost with the process."""
        ending = threading.Thread(target=self._batches.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(STOP_SECONDS)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send what waits now."""
        return self._batches.force_flush(timeout_millis)

    def _drop(self, why: Drop, spans: int) -> None:
        with self._lock:
            self._dropped[why] += spans
            first = not self._losing
            self._losing = True
        if first:
            _log.warning("traces are lost: the collector doesn't take them", why=why.value, said=self._reason.text)


class _ReportingExporter(SpanExporter):
    """Says of each batch whether it was sent."""

    def __init__(self, exporter: SpanExporter, export: BoundedExport) -> None:
        self._exporter = exporter
        self._export = export

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; on any error it is given up."""
        sent = False
        try:
            result = self._exporter.export(spans)
            sent = result is SpanExportResult.SUCCESS
        finally:
            self._export.note_export(len(spans), sent=sent)
        return result

    def shutdown(self) -> None:
        """End what is being sent."""
        self._exporter.shutdown()


class _LastLine(logging.Handler):
    """Keeps the exporter's last line, which says why a batch could not be sent."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""
        exporters = logging.getLogger("opentelemetry.exporter")
        exporters.setLevel(logging.WARNING)
        exporters.propagate = False
        exporters.handlers = [self]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.text = record.getMessage()

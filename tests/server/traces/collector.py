"""A collector of the tests' own: takes OTLP over HTTP as protobuf, and keeps its spans."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass(frozen=True)
class SentSpan:
    """A span as it came, with the attributes of its resource."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    failed: bool
    links: tuple[str, ...]
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Collector:
    """What came so far, and where it is sent to."""

    url: str
    spans: list[SentSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[SentSpan]:
        """The spans of a name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting(gate: threading.Event | None = None) -> Iterator[Collector]:
    """Collect on a free port within the block; with a gate, nothing is taken before it is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if gate is not None:
                gate.wait()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/x-protobuf"
            collector.bodies.append(body)
            collector.spans.extend(read_spans(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read_spans(body: bytes) -> Iterator[SentSpan]:
    """Read the spans of one request."""
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {each.key: read_value(each.value) for each in of_resource.resource.attributes}
        for span in (span for scope in of_resource.scope_spans for span in scope.spans):
            yield SentSpan(
                span.name,
                span.kind,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                span.status.code == span.status.STATUS_CODE_ERROR,
                tuple(link.trace_id.hex() for link in span.links),
                {each.key: read_value(each.value) for each in span.attributes},
                resource,
            )


def read_value(value: AnyValue) -> Any:  # noqa: ANN401 - of whatever type it was sent
    """Read the value of an attribute."""
    if value.HasField("array_value"):
        return [read_value(each) for each in value.array_value.values]
    return getattr(value, str(value.WhichOneof("value")))

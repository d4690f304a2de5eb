"""Middleware that counts, times, logs and traces every request.

It also adds the version header, and answers 500 for exceptions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelport.report_details import REPORTS_PATH
from reelport.server.addresses import unmap_address
from reelport.server.credentials import short_id
from reelport.server.graphql.faults import Fault, format_refusal
from reelport.server.http.health import HEALTH_PATH, LIVE_PATH, METRICS_PATH, READY_PATH
from reelport.server.http.problems import PROBLEM_TYPE, V1_PATH, format_problem, is_below_v1
from reelport.server.http.service import Service
from reelport.server.traces import tracing
from reelport.server.traces.span import Kind, Span
from reelport.wire import (
    FILES_PATH,
    GRAPHQL_PATH,
    PUBLIC_GRAPHQL_PATH,
    PUBLIC_TOKEN_PATH,
    TOKEN_PATH,
    VERSION_HEADER,
    Code,
)

STUDIO_PATH = "/studio"

_LOG = structlog.get_logger(__name__)
_GRAPHQL = frozenset({GRAPHQL_PATH, PUBLIC_GRAPHQL_PATH})
_ROUTES = _GRAPHQL | {TOKEN_PATH, PUBLIC_TOKEN_PATH, HEALTH_PATH, READY_PATH, LIVE_PATH, METRICS_PATH}
_QUIET = frozenset({HEALTH_PATH, READY_PATH, LIVE_PATH, METRICS_PATH})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SCHEMES = frozenset({"http", "https"})
_VERSION = (VERSION_HEADER.lower().encode(), version("reelport").encode())
_FAILURE = "The service failed; it isn't the request's fault."
_SERVER_ERROR = 500
"""Statuses from here on are failures of the service; those below are the caller's."""


class RequestLog:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and log it; the client never sees the text of an exception."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        if scope.get("scheme") not in _SCHEMES:
            # Links begin with the scheme, and a proxy's X-Forwarded-Proto may say wss.
            scope["scheme"] = "http"
        if scope.get("client"):
            scope["client"] = unmap_address(scope["client"][0]), scope["client"][1]
        route, method = _name_route(scope["path"]), scope["method"] if scope["method"] in _METHODS else "other"
        request_id, began = short_id(), time.perf_counter()
        status: int | None = None
        sent = 0
        service: Service = scope["app"].state.service

        async def send_recorded(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], _VERSION, (b"x-request-id", request_id.encode())]
                took = time.perf_counter() - began - scope["state"].get("held", 0.0)
                service.metrics.count_request(route, method, status, took)
            else:
                sent += len(message.get("body", b""))
            try:
                await send(message)
            except OSError:
                raise ClientDisconnect from None

        with (
            _trace(scope, route, method) as span,
            structlog.contextvars.bound_contextvars(request=request_id),
        ):
            try:
                await self._app(scope, receive, send_recorded)
            except ClientDisconnect:
                _LOG.info("the caller went away", route=route)
            except Exception:  # the outermost handler: log the defect with its traceback, answer in the API's form
                _LOG.exception("a request failed", route=route)
                if status is not None:
                    # The answer has begun: only a body shorter than its Content-Length shows the client the failure.
                    raise
                await _send_failure(route, send_recorded)
            finally:
                _note_answer(span, status, sent)
            log, state = _LOG.debug if route in _QUIET else _LOG.info, scope["state"]
            log(
                "request",
                route=route,
                method=method,
                status=status,
                milliseconds=round((time.perf_counter() - began) * 1000, 1),
                sent=sent,
                **({"held": round(state["held"] * 1000, 1)} if "held" in state else {}),
                **state.get("note", {}),
            )


def _name_route(path: str) -> str:
    if path in _ROUTES:
        return path
    parents = (FILES_PATH, REPORTS_PATH, STUDIO_PATH, V1_PATH)
    return next((parent for parent in parents if path == parent or path.startswith(f"{parent}/")), "other")


async def _send_failure(route: str, send: Send) -> None:
    kind, body = "application/json", json.dumps({"error": "internal_error", "error_description": _FAILURE}).encode()
    if route in _GRAPHQL:
        body = json.dumps(format_refusal([Fault(Code.INTERNAL, _FAILURE)])).encode()
    elif is_below_v1(route):
        kind, body = PROBLEM_TYPE, format_problem(Code.INTERNAL, _FAILURE, 500)
    length = b"%d" % len(body)  # else HTTP/1.0 would take a cut answer for a whole one
    headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def _trace(scope: Scope, route: str, method: str) -> Iterator[Span]:
    """Record a request as a span, by OpenTelemetry's conventions for HTTP; no quiet route.

    The span has no path and no query: they may hold the signature of a link.
    """
    if route in _QUIET:
        yield Span()
        return
    attributes = {"http.request.method": method.replace("other", "_OTHER"), "http.route": route}
    parents = Headers(scope=scope).getlist("traceparent")
    # Several contradict each other: then there is no parent.
    parent = parents[0] if len(parents) == 1 else None
    with tracing.span(f"{method} {route}", kind=Kind.SERVER, parent=parent, attributes=attributes) as span:
        yield span


def _note_answer(span: Span, status: int | None, size: int) -> None:
    span.set("http.response.body.size", size)
    if status is not None:
        span.set("http.response.status_code", status)
    if status is None or status >= _SERVER_ERROR:
        span.fail(str(status) if status else "disconnected")

"""Around every request: it is counted, timed and logged, says who answers, and a failure becomes a plain answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelport.server.credentials import short_id
from reelport.server.graphql.faults import Fault, refusal
from reelport.server.http.service import Service
from reelport.wire import FILES_PATH, GRAPHQL_PATH, TOKEN_PATH, VERSION_HEADER, Code

HEALTH_PATH = "/health"
READY_PATH = "/health/ready"
LIVE_PATH = "/health/live"
METRICS_PATH = "/metrics"

_LOG = structlog.get_logger(__name__)
_ROUTES = frozenset({TOKEN_PATH, GRAPHQL_PATH, HEALTH_PATH, READY_PATH, LIVE_PATH, METRICS_PATH})
_QUIET = frozenset({HEALTH_PATH, READY_PATH, LIVE_PATH, METRICS_PATH})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SCHEMES = frozenset({"http", "https"})
_VERSION = (VERSION_HEADER.lower().encode(), version("reelport").encode())
_SENTENCE = "The service failed; it isn't the request's fault."


@dataclass(slots=True)
class _Seen:
    """What became of one request so far."""

    route: str
    method: str
    began: float = field(default_factory=time.perf_counter)
    status: int | None = None
    bytes: int = 0


class RequestLog:
    """The ASGI app that stands around the others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on; nothing of an exception is told to the caller."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        if scope.get("scheme") not in _SCHEMES:
            # A proxy's X-Forwarded-Proto may say wss as well; links begin with it.
            scope["scheme"] = "http"
        seen = _Seen(_route(scope["path"]), scope["method"] if scope["method"] in _METHODS else "other")
        request_id = short_id()
        service: Service = scope["app"].state.service

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                message["headers"] = [*message["headers"], _VERSION, (b"x-request-id", request_id.encode())]
                took = time.perf_counter() - seen.began - scope["state"].get("held", 0.0)
                service.metrics.answered(seen.route, seen.method, seen.status or 0, took)
            else:
                seen.bytes += len(message.get("body", b""))
            try:
                await send(message)
            except OSError:
                raise ClientDisconnect from None

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._app(scope, receive, watched)
            except ClientDisconnect:
                _LOG.info("the caller went away", route=seen.route)
            except Exception:  # the outermost place: a defect is logged whole and answered in our form
                _LOG.exception("a request failed", route=seen.route)
                if seen.status is not None:
                    # The answer has begun: only an end without its length tells the reader that it isn't whole.
                    raise
                await _fail(seen.route, watched)
            _log(seen, scope["state"])


def _log(seen: _Seen, state: Mapping[str, Any]) -> None:
    log = _LOG.debug if seen.route in _QUIET else _LOG.info
    log(
        "request",
        route=seen.route,
        method=seen.method,
        status=seen.status,
        milliseconds=round((time.perf_counter() - seen.began) * 1000, 1),
        sent=seen.bytes,
        **({"held": round(state["held"] * 1000, 1)} if "held" in state else {}),
        **state.get("note", {}),
    )


def _route(path: str) -> str:
    if path in _ROUTES:
        return path
    return FILES_PATH if path.startswith(f"{FILES_PATH}/") else "other"


async def _fail(route: str, send: Send) -> None:
    told = refusal([Fault(Code.INTERNAL, _SENTENCE)])
    body = told if route == GRAPHQL_PATH else {"error": "internal_error", "error_description": _SENTENCE}
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})

"""Errors under `/v1/`: problem details (RFC 9457) with the catalog's codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from reelport.wire import Code

V1_PATH = "/v1"
PROBLEM_TYPE = "application/problem+json"


def is_below_v1(path: str) -> bool:
    """Whether an address is one of the plain JSON API."""
    return path == V1_PATH or path.startswith(f"{V1_PATH}/")


def format_problem(code: Code, detail: str, status: int) -> bytes:
    """Write a problem as JSON. Its `type` is `about:blank`; `code` says what it is."""
    title = HTTPStatus(status).phrase
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code.value}
    return json.dumps(problem, separators=(",", ":")).encode()


def answer_problem(
    request: Request, code: Code, detail: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Make the response of a problem; count its code, and note it for the log."""
    request.app.state.service.metrics.errors.labels(code.value).inc()
    request.state.note = {"codes": [code.value]}
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(format_problem(code, detail, status), status, headers, media_type=PROBLEM_TYPE)

"""`POST /graphql`: checks the bearer token, reads the body, answers.

As `application/json` GraphQL errors come with HTTP 200 too, as on the copied wire. A client that accepts
`application/graphql-response+json` gets the statuses of the GraphQL-over-HTTP specification.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio.to_thread
import structlog
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from reelport.errors import StorageError
from reelport.server.access.callers import Caller
from reelport.server.graphql.answer import answer_request, parse_body
from reelport.server.graphql.faults import Fault, format_refusal
from reelport.server.graphql.resolvers import Context
from reelport.server.http.accept import find_quality, is_named
from reelport.server.http.bearer_token import BearerRefused, answer_or_wait, authenticate
from reelport.server.http.graphiql import answer_page, wants_page
from reelport.server.http.service import Service
from reelport.server.limits.body_budget import BODY_BYTES, PendingBody
from reelport.wire import COMPLETE_HEADER, Code, format_complete_day

_LOG = structlog.get_logger(__name__)
_JSON, _GRAPHQL_JSON = "application/json", "application/graphql-response+json"
_PARTIAL_SUCCESS = 294
"""The specification's own status of an answer with both data and errors."""


async def answer_graphql(request: HttpRequest) -> Response:
    """Answer a GraphQL request; refuse every method but POST."""
    service: Service = request.app.state.service
    if (answer := _answer_head(request)) is not None:
        return answer
    try:
        caller = await authenticate(service, request)
        with service.bodies.hold(caller.organization_id) as pending:
            body = await pending.read(request, BODY_BYTES)
            if body is None:
                sentence = f"The body is longer than {BODY_BYTES} bytes."
                return _refuse(request, Fault(Code.TOO_LARGE, sentence), 413)
            return await _answer_or_wait(service, request, caller, body, pending)
        fault = Fault(Code.UNAVAILABLE, "This partner is sending too much at once: try again.")
        return _refuse(request, fault, 503, **{"Retry-After": "5"})
    except BearerRefused as refused:
        return _refuse(request, Fault(Code.UNAUTHENTICATED, str(refused)), refused.status, **refused.headers)
    except StorageError as error:
        _LOG.error("the state can't be used", reason=str(error))
        fault = Fault(Code.UNAVAILABLE, "The service can't answer now: try again.")
        return _refuse(request, fault, 503, **{"Retry-After": "5"})


def _answer_head(request: HttpRequest) -> Response | None:
    service: Service = request.app.state.service
    if service.settings.graphiql == "yes" and wants_page(request):
        return answer_page()
    if request.method != "POST":
        fault = Fault(Code.WRONG_METHOD, f"{request.method} is not taken here: POST a JSON object with a `query`.")
        return _refuse(request, fault, 405, Allow="POST")
    if _wants_statuses(request) and not _is_utf8_json(request.headers.get("content-type", "")):
        fault = Fault(Code.BAD_BODY, f"Send the body as `Content-Type: {_JSON}`, in UTF-8.")
        return _refuse(request, fault, 415)
    return None


async def _answer_or_wait(
    service: Service, request: HttpRequest, caller: Caller, body: bytes, pending: PendingBody
) -> Response:
    """Answer now, or after a long poll: a query of unfinished reports may wait for one."""
    base = service.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    answer = partial(_answer_in_turn, service, request, body, base, pending)
    (said, context), waited = await answer_or_wait(request, caller, answer, lambda found: _find_unfinished(*found))
    return _reply(request, said, body, headers=_make_headers(service, context) | waited)


async def _answer_in_turn(
    service: Service, request: HttpRequest, body: bytes, base: str, pending: PendingBody, caller: Caller
) -> tuple[dict[str, Any], Context]:
    """Answer as soon as the partner's concurrency limit allows.

    Finished reports in the answer are on the disk. ClientDisconnect when the client has gone while it waited.
    """
    async with service.concurrency.turn(caller.organization_id) as waited:
        # This takes two rounds of the event loop, in which all other requests come first.
        if waited and await request.is_disconnected():
            raise ClientDisconnect
        pending.protect()
        answer, context = await anyio.to_thread.run_sync(
            parse_and_execute, service, caller, body, base, _wants_statuses(request)
        )
    await service.durable_reports.ensure(frozenset(context.finished))
    return answer, context


def parse_and_execute(
    service: Service, caller: Caller, body: bytes, base: str, strict: bool = False
) -> tuple[dict[str, Any], Context]:
    """Answer a body; the context has what the answer says about reports."""
    context = Context(service.db, service.settings, service.service_secret, caller, datetime.now(UTC), base)
    request = parse_body(body, strict=strict)
    if isinstance(request, Fault):
        return format_refusal([request]), context
    return answer_request(service.documents, request, context), context


def _find_unfinished(answer: dict[str, Any], context: Context) -> frozenset[str]:
    """Find the unfinished reports that an answer tells of; none after an error."""
    return frozenset() if "errors" in answer else frozenset(context.unfinished)


def _make_headers(service: Service, context: Context) -> dict[str, str]:
    day, slots = min(context.complete_days, default=None), context.slots
    complete = {} if day is None else {COMPLETE_HEADER: format_complete_day(day)}
    is_full = any(fault.code is Code.TOO_MANY_REPORTS for fault in context.faults)
    pause = {"Retry-After": "5"} if is_full else {}
    return complete | pause | service.format_limits(context.caller, None if slots is None else slots.left)


def _refuse(request: HttpRequest, fault: Fault, status: int, **headers: str) -> Response:
    return _reply(request, format_refusal([fault]), b"", status, headers)


def _reply(
    request: HttpRequest,
    answer: dict[str, Any],
    body: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Make the JSON response; note codes for log and metrics, never their texts."""
    codes = sorted({str(error["extensions"]["code"]) for error in answer.get("errors", ())})
    if codes:
        service: Service = request.app.state.service
        for code in codes:
            service.metrics.errors.labels(code).inc()
        request.state.note = {"codes": codes, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()[:16]}
    media_type = _JSON
    if _wants_statuses(request):
        media_type = f"{_GRAPHQL_JSON}; charset=utf-8"
        if answer["data"] is None:  # Every root field is nullable: nothing was executed.
            answer, status = {"errors": answer["errors"]}, 400 if status == 200 else status  # noqa: PLR2004
        elif "errors" in answer:
            status = _PARTIAL_SUCCESS
    return Response(
        json.dumps(answer, separators=(",", ":")),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type=media_type,
    )


def _wants_statuses(request: HttpRequest) -> bool:
    """Whether the client names the specification's media type, and prefers no other."""
    accept = ",".join(request.headers.getlist("accept"))
    return is_named(accept, _GRAPHQL_JSON) and 0 < find_quality(accept, _GRAPHQL_JSON) >= find_quality(accept, _JSON)


def _is_utf8_json(content_type: str) -> bool:
    name, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = {part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset")}
    return name == _JSON and charsets <= {"utf-8", "utf8"}

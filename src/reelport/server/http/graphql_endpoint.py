"""`POST /graphql`: checks the bearer token, reads the body, answers.

As `application/json` GraphQL errors come with HTTP 200 too, as on the copied wire. A client that accepts
`application/graphql-response+json` gets the statuses of the GraphQL-over-HTTP specification.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import anyio.to_thread
import structlog
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from reelport.errors import StorageError
from reelport.server.access.callers import Caller
from reelport.server.graphql.answer import answer_request, parse_body, parse_wait
from reelport.server.graphql.faults import Fault, format_refusal
from reelport.server.graphql.resolvers import Context
from reelport.server.http.accept import LONGEST, find_quality, is_named
from reelport.server.http.graphiql import answer_page, wants_page
from reelport.server.http.service import BearerRefusal, Service, authenticate, wait_for_reports
from reelport.server.limits.body_budget import PendingBody
from reelport.server.limits.document_limits import BODY_BYTES
from reelport.wire import COMPLETE_HEADER, Code, format_complete_day

_LOG = structlog.get_logger(__name__)
_JSON, _GRAPHQL_JSON = "application/json", "application/graphql-response+json"
_PARTIAL_SUCCESS = 294
"""The specification's own status of an answer with both data and errors."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer as JSON, and what it says about reports.

    `unfinished` are the unfinished reports in it, none after an error; `finished` are the finished ones, and
    `last_complete_day` is the earliest of theirs. `slots_left` is for how many more the partner may ask; `is_full` says
    that an ask was refused for want of a slot.
    """

    body: dict[str, Any]
    unfinished: frozenset[str] = frozenset()
    finished: frozenset[str] = frozenset()
    last_complete_day: date | None = None
    slots_left: int | None = None
    is_full: bool = False


async def answer_graphql(request: HttpRequest) -> Response:
    """Answer a GraphQL request; refuse every method but POST."""
    service: Service = request.app.state.service
    if (answer := _answer_head(request)) is not None:
        return answer
    try:
        caller = await _authenticate(service, request)
        if isinstance(caller, Response):
            return caller
        with service.bodies.hold(caller.organization_id) as pending:
            body = await pending.read(request, BODY_BYTES)
            if body is None:
                sentence = f"The body is longer than {BODY_BYTES} bytes."
                return _refuse(request, Fault(Code.TOO_LARGE, sentence), 413)
            return await _answer_or_wait(service, request, caller, body, pending)
        fault = Fault(Code.UNAVAILABLE, "This partner is sending too much at once: try again.")
        return _refuse(request, fault, 503, **{"Retry-After": "5"})
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
    """Answer now, or after a long poll.

    With `Prefer: wait`, a query that read unfinished reports waits until one of them ends, and then runs again.
    """
    base = service.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    answer = await _answer_in_turn(service, request, caller, body, base, pending)
    seconds = parse_wait(request.headers.getlist("prefer"), service.settings.look_seconds)
    partner, seen = caller.organization_id, answer.unfinished
    if not (seconds and seen and (await wait_for_reports(service, request, partner, seen, seconds)).needs_new_answer):
        return _reply(request, answer.body, body, headers=_make_headers(service, caller, answer))
    # Authenticate again: the key may have been revoked, or may have lost a channel, during the long poll.
    again = await _authenticate(service, request)
    if isinstance(again, Response):
        return again
    answer = await _answer_in_turn(service, request, again, body, base, pending)
    headers = {**_make_headers(service, caller, answer), "Preference-Applied": f"wait={seconds}"}
    return _reply(request, answer.body, body, headers=headers)


async def _answer_in_turn(
    service: Service, request: HttpRequest, caller: Caller, body: bytes, base: str, pending: PendingBody
) -> _Answer:
    """Answer as soon as the partner's concurrency limit allows.

    Finished reports in the answer are on the disk. ClientDisconnect when the client has gone while it waited.
    """
    async with service.concurrency.turn(caller.organization_id) as waited:
        # This takes two rounds of the event loop, in which all other requests come first.
        if waited and await request.is_disconnected():
            raise ClientDisconnect
        pending.protect()
        answer = await anyio.to_thread.run_sync(
            _parse_and_execute, service, caller, body, base, _wants_statuses(request)
        )
    await service.durable_reports.ensure(answer.finished)
    return answer


def _parse_and_execute(service: Service, caller: Caller, body: bytes, base: str, strict: bool = False) -> _Answer:
    graphql_request = parse_body(body, strict=strict)
    if isinstance(graphql_request, Fault):
        return _Answer(format_refusal([graphql_request]))
    context = Context(service.db, service.settings, service.service_secret, caller, datetime.now(UTC), base)
    answer = answer_request(service.documents, graphql_request, context)
    unfinished = frozenset() if "errors" in answer else frozenset(context.unfinished)
    complete_day, slots = min(context.complete_days, default=None), context.extension.slots
    is_full = any(fault.code is Code.TOO_MANY_REPORTS for fault in context.faults)
    slots_left = None if slots is None else slots.left
    return _Answer(answer, unfinished, frozenset(context.finished), complete_day, slots_left, is_full)


def _make_headers(service: Service, caller: Caller, answer: _Answer) -> dict[str, str]:
    day = answer.last_complete_day
    complete = {} if day is None else {COMPLETE_HEADER: format_complete_day(day)}
    pause = {"Retry-After": "5"} if answer.is_full else {}
    return complete | pause | service.format_limits(caller, answer.slots_left)


async def _authenticate(service: Service, request: HttpRequest) -> Caller | Response:
    caller = await authenticate(service, request)
    if isinstance(caller, BearerRefusal):
        return _refuse(request, Fault(Code.UNAUTHENTICATED, caller.sentence), caller.status, **caller.headers)
    return caller


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
    # Cut, so that what is remembered stays small: a longer one counts as absent anyway.
    return _prefers_graphql_json(",".join(request.headers.getlist("accept"))[: LONGEST + 1])


@lru_cache(maxsize=200)
def _prefers_graphql_json(accept: str) -> bool:
    """Whether the client names the specification's media type, and prefers no other."""
    quality = find_quality(accept, _GRAPHQL_JSON)
    return is_named(accept, _GRAPHQL_JSON) and quality > 0 and quality >= find_quality(accept, _JSON)


def _is_utf8_json(content_type: str) -> bool:
    name, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = {part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset")}
    return name == _JSON and charsets <= {"utf-8", "utf8"}

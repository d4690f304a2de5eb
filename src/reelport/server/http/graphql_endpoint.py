"""`POST /graphql`: bearer, body, answer. HTTP 200 for every GraphQL answer, its errors included."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import anyio
import anyio.to_thread
import structlog
from sqlalchemy import Engine
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from reelport.errors import StorageError
from reelport.server.access import callers
from reelport.server.access.callers import Caller
from reelport.server.graphql.answer import answer
from reelport.server.graphql.context import Context
from reelport.server.graphql.faults import Fault, refusal
from reelport.server.graphql.preference import wait_of
from reelport.server.graphql.request import Request as GraphqlRequest
from reelport.server.graphql.request import read
from reelport.server.http.long_poll import End
from reelport.server.http.service import Service
from reelport.server.limits.body_budget import PendingBody
from reelport.wire import COMPLETE_HEADER, Code, format_complete_day

_LOG = structlog.get_logger(__name__)
_REALM = 'Bearer realm="reelport"'
_SCHEME = "bearer"
_SHORT_BODY = 10_000
"""Bytes of a body that are read as JSON on the event loop: a tenth of a millisecond."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """An answer, the unfinished reports that a query without error has seen, the first of the last complete days."""

    body: dict[str, Any]
    unfinished: frozenset[str] = frozenset()
    last_complete_day: date | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What is said beside the body of the reports in it."""
        day = self.last_complete_day
        return {} if day is None else {COMPLETE_HEADER: format_complete_day(day)}


async def graphql(request: HttpRequest) -> Response:
    """Answer one request; only POST is taken."""
    service: Service = request.app.state.service
    if request.method != "POST":
        fault = Fault(Code.BAD_BODY, f"{request.method} is not taken here: POST a JSON object with a `query`.")
        return _refused(request, fault, 405, Allow="POST")
    try:
        caller = await _caller(service, request)
        if isinstance(caller, Response):
            return caller
        with service.bodies.hold(caller.organization_id) as pending:
            body = await pending.read(request, service.settings.body_bytes)
            if body is None:
                sentence = f"The body is longer than {service.settings.body_bytes} bytes."
                return _refused(request, Fault(Code.TOO_LARGE, sentence), 413)
            return await _answered(service, request, caller, body, pending)
        fault = Fault(Code.UNAVAILABLE, "Too much of this partner is coming in at once: try again.")
        return _refused(request, fault, 503, **{"Retry-After": "5"})
    except StorageError as error:
        _LOG.error("the state can't be used", reason=str(error))
        fault = Fault(Code.UNAVAILABLE, "The service can't answer now: try again.")
        return _refused(request, fault, 503, **{"Retry-After": "5"})


async def _answered(
    service: Service, request: HttpRequest, caller: Caller, body: bytes, pending: PendingBody
) -> Response:
    """The answer; where the caller prefers to wait for a report, the one that there is when it has waited."""
    base = service.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    answered = await _in_turn(service, request, caller, body, base, pending)
    seconds = wait_of(request.headers.getlist("prefer"), service.settings.look_seconds)
    seen = answered.unfinished
    if not (seconds and seen and (await _held(service, request, caller, seen, seconds)).waited):
        return _reply(request, answered.body, body, headers=answered.headers)
    # Who calls is asked again: a key may have been revoked, or lost a channel, while its look was held.
    again = await _caller(service, request)
    if isinstance(again, Response):
        return again
    answered = await _in_turn(service, request, again, body, base, pending)
    headers = {**answered.headers, "Preference-Applied": f"wait={seconds}"}
    return _reply(request, answered.body, body, headers=headers)


async def _in_turn(
    service: Service, request: HttpRequest, caller: Caller, body: bytes, base: str, pending: PendingBody
) -> _Answered:
    """The answer, when it is this partner's turn; ClientDisconnect when nobody is there any more to be told it."""
    async with service.concurrency.limiter_of(caller.organization_id):
        if await request.is_disconnected():
            raise ClientDisconnect
        pending.keep()
        asked = _known_read(service, body)
        if asked is not None:
            return await service.reads.run(_execute, service, caller, asked, base)
        return await anyio.to_thread.run_sync(_answer, service, caller, body, base)


def _known_read(service: Service, body: bytes) -> GraphqlRequest | None:
    """The request of a short body, if it is a query of little cost that was prepared before; else None."""
    if not service.reads.runs_on_event_loop or len(body) > _SHORT_BODY:
        return None
    asked = read(body)
    if isinstance(asked, Fault):
        return None
    operation = service.documents.known(asked.query, asked.operation)
    return asked if operation is not None and operation.is_short_read else None


async def _held(
    service: Service, request: HttpRequest, caller: Caller, unfinished: frozenset[str], seconds: int
) -> End:
    """Hold a look; ClientDisconnect as soon as its caller has gone."""
    began = time.perf_counter()
    end = End.LEFT
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_when_gone, request, tasks.cancel_scope)
        end = await service.long_polls.wait(caller.organization_id, unfinished, seconds)
        tasks.cancel_scope.cancel()
    request.state.held = time.perf_counter() - began
    service.metrics.held(end.value)
    if end is End.LEFT:
        raise ClientDisconnect
    return end


async def _cancel_when_gone(request: HttpRequest, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _answer(service: Service, caller: Caller, body: bytes, base: str) -> _Answered:
    asked = read(body)
    if isinstance(asked, Fault):
        return _Answered(refusal([asked]))
    return _execute(service.db, service, caller, asked, base)


def _execute(db: Engine, service: Service, caller: Caller, asked: GraphqlRequest, base: str) -> _Answered:
    repeatable = db is not service.db
    context = Context(
        db, service.settings, service.secret, caller, datetime.now(UTC), service.expiry.now(), base, repeatable
    )
    body = answer(service.documents, asked, context)
    unfinished = frozenset() if "errors" in body else frozenset(context.unfinished)
    return _Answered(body, unfinished, min(context.complete_days, default=None))


async def _caller(service: Service, request: HttpRequest) -> Caller | Response:
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        # A proxy in between may have gone by the other one.
        fault = Fault(Code.UNAUTHENTICATED, f"There are {len(headers)} Authorization headers: send one.")
        return _refused(request, fault, 400, **{"WWW-Authenticate": f'{_REALM}, error="invalid_request"'})
    header = headers[0] if headers else ""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        fault = Fault(Code.UNAUTHENTICATED, "There is no bearer token: send `Authorization: Bearer …`.")
        return _refused(request, fault, 401, **{"WWW-Authenticate": _REALM})
    now = datetime.now(UTC)
    # In turn: else thousands of requests with one token would all be looked up before anybody else's.
    async with service.concurrency.limiter_of(token):
        caller = await service.reads.run(callers.identify_caller, service.secret, token.strip(), now)
    if caller is None:
        fault = Fault(Code.UNAUTHENTICATED, "The token is unknown, expired or revoked: ask for a new one.")
        challenge = f'{_REALM}, error="invalid_token", error_description="unknown, expired or revoked"'
        return _refused(request, fault, 401, **{"WWW-Authenticate": challenge})
    return caller


def _refused(request: HttpRequest, fault: Fault, status: int, **headers: str) -> Response:
    return _reply(request, refusal([fault]), b"", status, headers)


def _reply(
    request: HttpRequest,
    answered: dict[str, Any],
    body: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """The answer as JSON; what was wrong is noted for the log by its codes, never by its text."""
    codes = sorted({str(error["extensions"]["code"]) for error in answered.get("errors", ())})
    if codes:
        service: Service = request.app.state.service
        for code in codes:
            service.metrics.told(code)
        request.state.note = {"codes": codes, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()[:16]}
    return Response(
        json.dumps(answered, separators=(",", ":")),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )

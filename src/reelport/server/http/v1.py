"""The plain JSON API under `/v1/`, by the same bearer tokens as GraphQL.

`answer_report` is `GET /v1/reports/ID`, where ID is a report token. `answer_limits` is `GET /v1/limits`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from starlette.requests import Request
from starlette.responses import Response

from reelport.errors import QueryRefused, StorageError
from reelport.server.access.callers import Caller
from reelport.server.http.bearer import BearerRefusal, authenticate
from reelport.server.http.problems import answer_problem
from reelport.server.http.service import Service
from reelport.server.reports import ask, report_access
from reelport.wire import Code

_LOG = structlog.get_logger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def for_callers(answer: Callable[[Request, Service, Caller], Awaitable[Response]]) -> Endpoint:
    """Make an endpoint for callers with a valid bearer token; others are refused."""

    async def endpoint(request: Request) -> Response:
        service: Service = request.app.state.service
        try:
            caller = await authenticate(service, request)
            if isinstance(caller, BearerRefusal):
                return answer_problem(request, Code.UNAUTHENTICATED, caller.sentence, caller.status, caller.headers)
            async with service.concurrency.turn(caller.organization_id):
                return await answer(request, service, caller)
        except StorageError as error:
            _LOG.error("the state can't be used", reason=str(error))
            sentence = "The service can't answer now: try again."
            return answer_problem(request, Code.UNAVAILABLE, sentence, 503, {"Retry-After": "5"})

    return endpoint


def answer_json(content: object) -> Response:
    """Make the response of what is told to one caller now."""
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, 200, {"Cache-Control": "no-store"}, media_type="application/json")


async def _answer_report(request: Request, service: Service, caller: Caller) -> Response:
    token = request.path_params["report_id"]
    try:
        found = await service.reads.run(report_access.find_report, caller, token, datetime.now(UTC))
    except QueryRefused as refused:
        return answer_problem(request, Code.SCOPE_MISSING, refused.problems[0].sentence, 403)
    if found is None:
        sentence = "There is no report of this id, or this token may not see it."
        return answer_problem(request, Code.NOT_FOUND, sentence, 404)
    if found.file is not None:
        await service.durable_reports.ensure(frozenset({found.id}))
    return answer_json(found.details.to_json())


async def _answer_limits(_: Request, service: Service, caller: Caller) -> Response:
    partner = caller.organization_id
    load = await service.reads.run(ask.read_load, partner)
    slots = load.count_slots(service.settings)
    quotas = [
        service.measure_reports(slots.left),
        service.measure_documents(caller),
        service.long_polls.measure("status-queries", partner),
        service.download_slots.measure("downloads", partner),
        service.bodies.measure("bodies", partner),
        service.grants.measure("tokens"),
    ]
    return answer_json({"limits": [each.to_json() for each in quotas], "slots": slots.to_json()})


answer_report = for_callers(_answer_report)
answer_limits = for_callers(_answer_limits)

"""The plain JSON API under `/v1/`, by the same bearer tokens as GraphQL."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import structlog
from starlette.requests import Request
from starlette.responses import Response

from reelport.errors import QueryRefused, StorageError
from reelport.server.access.callers import Caller
from reelport.server.http.bearer_token import BearerRefused, answer_or_wait, authenticate
from reelport.server.http.problems import answer_problem
from reelport.server.http.service import Service
from reelport.server.reports import ask, report_access
from reelport.server.reports.report_access import FoundReport
from reelport.wire import Code, ReportStatus

_LOG = structlog.get_logger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def for_callers(answer: Callable[[Request, Service, Caller], Awaitable[Response]]) -> Endpoint:
    """Make an endpoint for callers with a valid bearer token; others are refused."""

    async def endpoint(request: Request) -> Response:
        service: Service = request.app.state.service
        try:
            return await answer(request, service, await authenticate(service, request))
        except BearerRefused as refused:
            return answer_problem(request, Code.UNAUTHENTICATED, str(refused), refused.status, refused.headers)
        except StorageError as error:
            _LOG.error("the state can't be used", reason=str(error))
            sentence = "The service can't answer now: try again."
            return answer_problem(request, Code.UNAVAILABLE, sentence, 503, {"Retry-After": "5"})

    return endpoint


def _answer_json(content: object, headers: Mapping[str, str]) -> Response:
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, 200, {"Cache-Control": "no-store", **headers}, media_type="application/json")


@for_callers
async def answer_report(request: Request, service: Service, caller: Caller) -> Response:
    """Answer `GET /v1/reports/ID`, where ID is a report token."""

    async def find(caller: Caller) -> FoundReport | None:
        async with service.concurrency.turn(caller.organization_id):
            token, now = request.path_params["report_id"], datetime.now(UTC)
            return await service.read(report_access.find_report, caller, token, now)

    try:
        found, waited = await answer_or_wait(request, caller, find, _find_unfinished)
    except QueryRefused as refused:
        sentence = refused.problems[0].sentence
        return answer_problem(request, Code.SCOPE_MISSING, sentence, 403, service.format_limits(caller))
    if found is None:
        sentence = "There is no report of this id, or this token may not see it."
        return answer_problem(request, Code.NOT_FOUND, sentence, 404, service.format_limits(caller))
    if found.file is not None:
        await service.durable_reports.ensure(frozenset({found.id}))
    limits = service.format_limits(caller, found.load.count_slots(service.settings).left)
    return _answer_json(found.details.to_json(), {**waited, **limits})


def _find_unfinished(found: FoundReport | None) -> frozenset[str]:
    return frozenset() if found is None or found.status is not ReportStatus.IN_PROGRESS else frozenset({found.id})


@for_callers
async def answer_limits(_: Request, service: Service, caller: Caller) -> Response:
    """Answer `GET /v1/limits`."""
    partner = caller.organization_id
    async with service.concurrency.turn(partner):
        load = await service.read(ask.read_load, partner)
    slots = load.count_slots(service.settings)
    quotas = [
        service.measure_reports(slots.left),
        service.measure_documents(caller),
        service.long_polls.measure("status-queries", partner),
        service.download_slots.measure("downloads", partner),
        service.bodies.measure("bodies", partner),
        service.grants.measure("tokens"),
    ]
    told = {"limits": [each.to_json() for each in quotas], "slots": slots.to_json()}
    return _answer_json(told, service.format_limits(caller, slots.left))

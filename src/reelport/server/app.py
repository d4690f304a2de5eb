"""Builds the ASGI app: routes, middleware, and the service object that every request uses."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial

import anyio
import anyio.to_thread
import structlog
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from reelport.engine.report_format import CSV, FORM_TYPES
from reelport.errors import ReelportError
from reelport.report_details import LIMITS_PATH, REPORTS_PATH
from reelport.server.access.key_uses import KeyUses
from reelport.server.access.login_attempts import LoginAttempts
from reelport.server.access.oidc import Provider
from reelport.server.access.operator_access import end_overdue_looks
from reelport.server.api_memory import BODIES_BYTES
from reelport.server.explore.explorer import Explorer
from reelport.server.files import retention
from reelport.server.graphql.resolvers import build_schema
from reelport.server.graphql.validation import DocumentCache
from reelport.server.http import health
from reelport.server.http.cors import ApiCors
from reelport.server.http.downloads import download
from reelport.server.http.graphiql import GRAPHIQL_PATH, answer_asset
from reelport.server.http.graphql_over_http import answer_graphql
from reelport.server.http.long_poll import DurableReports, LongPolls
from reelport.server.http.metrics import Metrics, StateMetrics
from reelport.server.http.oauth import answer_public_token, answer_token
from reelport.server.http.openapi import (
    OAUTH_PATH,
    OPENAPI_PATH,
    SDL_PATH,
    answer_oauth_server,
    answer_openapi,
    answer_sdl,
)
from reelport.server.http.problems import answer_problem, is_below_v1
from reelport.server.http.request_log import STUDIO_PATH, RequestLog
from reelport.server.http.service import ExactRoute, Service
from reelport.server.http.v1 import answer_limits, answer_report
from reelport.server.limits.body_budget import (
    ADDRESS_TOKEN_BODIES_BYTES,
    PARTNER_BODIES_BYTES,
    TOKEN_BODIES_BYTES,
    BodyBudget,
)
from reelport.server.limits.document_limits import DocumentLimits
from reelport.server.limits.download_slots import DownloadSlots
from reelport.server.limits.rate_limits import KEY_BURST, KEY_GRANTS, SITE_BURST, SITE_GRANTS, TokenBuckets
from reelport.server.queue import jobs
from reelport.server.resources import release_memory
from reelport.server.settings import Settings
from reelport.server.state.database import connect
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.server.state.write_probe import StateProbe
from reelport.server.studio.guard import refuse_unrouted
from reelport.server.studio.routes import make_routes as make_studio_routes
from reelport.storage.retries import BRIEF_SECONDS, retry_for
from reelport.wire import (
    FILES_PATH,
    GRAPHQL_PATH,
    PUBLIC_GRAPHQL_PATH,
    PUBLIC_TOKEN_PATH,
    TOKEN_PATH,
    Code,
)

_LOG = structlog.get_logger(__name__)
_ANY_METHOD = ()
"""Route every method: the endpoint refuses wrong ones itself, in the form of GraphQL errors."""


def create_app(settings: Settings) -> Starlette:
    """Create the API app for these settings; its lifespan opens the database and migrates it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with contextlib.ExitStack() as closing:
            db = await anyio.to_thread.run_sync(connect, settings)
            closing.callback(db.dispose)
            service = app.state.service = await anyio.to_thread.run_sync(build_service, settings, db)
            closing.callback(service.explorer.close)
            async with service.long_polls.watch_reports(), anyio.create_task_group() as tasks:
                stopping = threading.Event()
                tasks.start_soon(_sweep, settings, db, stopping)
                tasks.start_soon(service.key_uses.store_noted)
                try:
                    yield
                finally:  # also of an end that is forced, or of a failure: the process waits for the sweep's thread
                    stopping.set()
                    tasks.cancel_scope.cancel()

    origins = settings.allowed_origins
    cors = [Middleware(ApiCors, origins=origins)] if origins else []
    graphiql = [ExactRoute(f"{GRAPHIQL_PATH}/{{name:str}}", answer_asset, methods=["GET"])]
    app = Starlette(
        routes=[
            ExactRoute(TOKEN_PATH, answer_token, methods=["POST"]),
            ExactRoute(GRAPHQL_PATH, answer_graphql, methods=_ANY_METHOD),
            ExactRoute(PUBLIC_TOKEN_PATH, answer_public_token, methods=["POST"]),
            ExactRoute(PUBLIC_GRAPHQL_PATH, answer_graphql, methods=["POST"]),
            *(
                ExactRoute(
                    f"{FILES_PATH}/{form.file_name('{file_id:str}')}",
                    partial(download, suffixed=form),
                    methods=["GET"],
                )
                for form in (CSV, *FORM_TYPES.values())
            ),
            ExactRoute(f"{REPORTS_PATH}/{{report_id:str}}", answer_report, methods=["GET"]),
            ExactRoute(LIMITS_PATH, answer_limits, methods=["GET"]),
            ExactRoute(OPENAPI_PATH, answer_openapi, methods=["GET"]),
            ExactRoute(SDL_PATH, answer_sdl, methods=["GET"]),
            ExactRoute(OAUTH_PATH, answer_oauth_server, methods=["GET"]),
            ExactRoute(health.HEALTH_PATH, health.answer_health, methods=["GET"]),
            ExactRoute(health.READY_PATH, health.answer_ready, methods=["GET"]),
            ExactRoute(health.LIVE_PATH, health.answer_live, methods=["GET"]),
            ExactRoute(health.METRICS_PATH, health.answer_metrics, methods=["GET"]),
            *(graphiql if settings.graphiql == "yes" else []),
            *make_studio_routes(),
        ],
        middleware=[Middleware(RequestLog), *cors, Middleware(BriefRetries)],
        exception_handlers={HTTPException: _answer_not_found},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


def build_service(settings: Settings, db: Engine) -> Service:
    """Assemble the parts of the API around an open database."""
    durable_reports = DurableReports(db)
    long_polls = LongPolls(db, durable_reports)
    documents = DocumentCache(build_schema(), DocumentLimits())
    service_secret = require_same_secret(db, settings)
    return Service(
        settings,
        db,
        service_secret,
        documents,
        Metrics(StateMetrics(db, settings), lambda: len(long_polls)),
        long_polls,
        durable_reports,
        DownloadSlots(),
        BodyBudget(BODIES_BYTES, PARTNER_BODIES_BYTES),
        BodyBudget(TOKEN_BODIES_BYTES, ADDRESS_TOKEN_BODIES_BYTES),
        TokenBuckets(KEY_GRANTS, KEY_BURST),
        TokenBuckets(SITE_GRANTS, SITE_BURST),
        LoginAttempts(db),
        StateProbe(db),
        KeyUses(db),
        Explorer(settings),
        Provider.of(settings, service_secret),
    )


async def _sweep(settings: Settings, db: Engine, stopping: threading.Event) -> None:
    """Periodically delete expired reports and files, in one of the processes each time."""

    def sweep_once() -> None:
        if jobs.claim_chore(db, "sweep", settings.sweep_seconds):
            end_overdue_looks(db, datetime.now(UTC))
            with retry_for(BRIEF_SECONDS):  # the process's end waits for it, and the next sweep does what it left
                retention.sweep_unless_jumped(db, settings, datetime.now(UTC), stopping.is_set)
                LoginAttempts(db).delete_unused()

    while True:
        try:
            await anyio.to_thread.run_sync(sweep_once)
            await anyio.to_thread.run_sync(release_memory)
        except (ReelportError, OSError) as error:
            _LOG.warning("the sweep failed", reason=str(error))
        except Exception:  # noqa: BLE001 - whatever it was, the next sweep is made, and nothing beside it ends
            _LOG.exception("the sweep failed")
        await anyio.sleep(settings.sweep_seconds)


async def _answer_not_found(request: Request, error: Exception) -> Response:
    """Answer 404 for an unknown path, 405 for a wrong method; below Studio's path as a page."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (404, None)
    if request.url.path.startswith(f"{STUDIO_PATH}/") or request.url.path == STUDIO_PATH:
        page = await refuse_unrouted(request, status)
        page.headers.update(headers or {})
        return page
    if is_below_v1(request.url.path):
        if status == 405:  # noqa: PLR2004 - a status of HTTP
            return answer_problem(request, Code.WRONG_METHOD, f"{request.method} is not taken here.", 405, headers)
        return answer_problem(request, Code.NOT_FOUND, "Nothing is at this address.", 404)
    if request.url.path == PUBLIC_GRAPHQL_PATH:
        status, headers = 404, None  # a browser finds what is where
    if status == 405:  # noqa: PLR2004 - a status of HTTP
        description = f"{request.method} is not taken here."
        body = {"error": "invalid_request", "error_description": description}
    else:
        description = (
            f"Nothing is here. Tokens: POST {TOKEN_PATH}, of public keys {PUBLIC_TOKEN_PATH}; "
            f"reports: POST {GRAPHQL_PATH}, of public keys {PUBLIC_GRAPHQL_PATH}; their states: GET {REPORTS_PATH}/…; "
            f"limits: GET {LIMITS_PATH}; links are given by reports; "
            f"descriptions: {OPENAPI_PATH} and {SDL_PATH}; pages for people: {STUDIO_PATH}."
        )
        if request.url.path.startswith(f"{FILES_PATH}/"):
            suffixes = ", ".join(form.suffix for form in (CSV, *FORM_TYPES.values()))
            description += f" The path of a link is {FILES_PATH}/ID and one of {suffixes}."
        body = {"error": "not_found", "error_description": description}
    return JSONResponse(body, status, headers=headers)


class BriefRetries:
    """Lets requests wait only briefly for an object store that is away: each holds a thread."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with retry_for(BRIEF_SECONDS):
            await self._app(scope, receive, send)

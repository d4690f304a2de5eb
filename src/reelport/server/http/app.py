"""The API as an ASGI app: where its parts are put together, and which path leads where."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import structlog
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from reelport.errors import StorageError
from reelport.server.files import retention
from reelport.server.graphql.documents import Documents
from reelport.server.graphql.resolvers import schema
from reelport.server.http import health
from reelport.server.http.downloads import download
from reelport.server.http.graphql_endpoint import graphql
from reelport.server.http.long_poll import LongPolls
from reelport.server.http.metrics import Metrics
from reelport.server.http.oauth import token
from reelport.server.http.request_log import HEALTH_PATH, LIVE_PATH, METRICS_PATH, READY_PATH, RequestLog
from reelport.server.http.service import Service
from reelport.server.http.state_metrics import StateMetrics
from reelport.server.limits.body_budget import BodyBudget
from reelport.server.limits.download_slots import DownloadSlots
from reelport.server.limits.grant_rate import GrantRate
from reelport.server.limits.request_size import FORMS, FORMS_OF_ONE, DocumentLimits
from reelport.server.memory import release_memory
from reelport.server.queue import jobs
from reelport.server.settings import Settings
from reelport.server.state.database import connect
from reelport.server.state.expiry_clock import ExpiryClock
from reelport.server.state.reads import Reads
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.server.state.write_probe import StateProbe
from reelport.wire import FILES_PATH, GRAPHQL_PATH, TOKEN_PATH

_LOG = structlog.get_logger(__name__)
_ANY = ()
"""Every method: which are taken is said where the answer is made, in the form of its errors."""


def create_app(settings: Settings) -> Starlette:
    """The API over the state and the files that the settings name; its lifespan brings the state up to date."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        db = await anyio.to_thread.run_sync(connect, settings)
        app.state.service = await anyio.to_thread.run_sync(compose, settings, db)
        async with app.state.service.long_polls.watch_reports(), anyio.create_task_group() as tasks:
            tasks.start_soon(_sweep, settings, db, app.state.service.expiry)
            yield
            tasks.cancel_scope.cancel()
        app.state.service.reads.close()
        db.dispose()

    app = Starlette(
        routes=[
            Route(TOKEN_PATH, token, methods=["POST"]),
            Route(GRAPHQL_PATH, graphql, methods=_ANY),
            Route(FILES_PATH + "/{report_id:str}.csv", download, methods=["GET"]),
            Route(HEALTH_PATH, health.whole, methods=["GET"]),
            Route(READY_PATH, health.ready, methods=["GET"]),
            Route(LIVE_PATH, health.live, methods=["GET"]),
            Route(METRICS_PATH, health.metrics, methods=["GET"]),
        ],
        middleware=[Middleware(RequestLog)],
        exception_handlers={HTTPException: _no_such},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


def compose(settings: Settings, db: Engine) -> Service:
    """The parts of the API over an open state."""
    held = LongPolls(db, settings)
    documents = Documents(schema(), DocumentLimits.of(settings))
    return Service(
        settings,
        db,
        Reads(db, settings),
        require_same_secret(db, settings),
        documents,
        Metrics(StateMetrics(db, settings), lambda: len(held)),
        held,
        DownloadSlots(settings),
        BodyBudget(settings.pending_bytes, max(settings.partner_pending_bytes, settings.body_bytes)),
        BodyBudget(FORMS, FORMS_OF_ONE),
        GrantRate(settings.key_grants),
        StateProbe(db),
        ExpiryClock(db),
    )


async def _sweep(settings: Settings, db: Engine, expiry: ExpiryClock) -> None:
    """End what is over, now and then; across processes each time is done once."""
    while True:
        try:
            await anyio.to_thread.run_sync(_sweep_once, settings, db, expiry)
            await anyio.to_thread.run_sync(release_memory)
        except (StorageError, OSError) as error:
            _LOG.warning("no sweep", reason=str(error))
        await anyio.sleep(settings.sweep_seconds)


def _sweep_once(settings: Settings, db: Engine, expiry: ExpiryClock) -> None:
    now = expiry.agree()
    if jobs.claim_chore(db, "sweep", settings.sweep_seconds):
        retention.sweep(db, settings, now)


def _no_such(request: Request, error: Exception) -> JSONResponse:
    """Nothing at this path, or not by this method."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (404, None)
    if status == 405:  # noqa: PLR2004 - a status of HTTP
        said = f"{request.method} is not taken here."
        body = {"error": "invalid_request", "error_description": said}
    else:
        said = f"Nothing is here. Tokens: POST {TOKEN_PATH}; reports: POST {GRAPHQL_PATH}; links are given by reports."
        body = {"error": "not_found", "error_description": said}
    return JSONResponse(body, status, headers=headers)

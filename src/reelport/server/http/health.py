"""Health endpoints (live, ready, whole service) and the metrics endpoint."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

import anyio.to_thread
import structlog
from sqlalchemy import select
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reelport.errors import StorageError
from reelport.facts.layout import require_layout
from reelport.server.http.metrics import CONTENT_TYPE
from reelport.server.http.service import Service
from reelport.server.queue import liveness
from reelport.server.state.database import reading
from reelport.server.state.tables import ORGANIZATIONS

HEALTH_PATH = "/health"
READY_PATH = "/health/ready"
LIVE_PATH = "/health/live"
METRICS_PATH = "/metrics"
_LOG = structlog.get_logger(__name__)
_NO_STORE = {"Cache-Control": "no-store"}


async def answer_live(_: Request) -> JSONResponse:
    """Answer 200 while the process runs; nothing else is checked."""
    return JSONResponse({"status": "ok"}, headers=_NO_STORE)


async def answer_health(request: Request) -> JSONResponse:
    """Answer 200 when reports can be asked for and made, else 503, with every check."""
    service: Service = request.app.state.service
    checks = await anyio.to_thread.run_sync(lambda: _check_process(service) | {"workers": _check_workers(service)})
    _log_change(request.app.state, checks)
    return _answer_checks(checks)


async def answer_ready(request: Request) -> JSONResponse:
    """Answer 200 when this process takes requests, worker or not: for load balancers."""
    return _answer_checks(await anyio.to_thread.run_sync(_check_process, request.app.state.service))


def _log_change(state: State, checks: Mapping[str, str]) -> None:
    # Only what changed since the last probe: those come often.
    before, state.checks = getattr(state, "checks", None), checks
    wrong = {part: found for part, found in checks.items() if found != "ok"}
    if wrong and checks != before:
        _LOG.warning("unhealthy", **wrong)
    elif not wrong and before not in (None, checks):
        _LOG.info("healthy again")


def _answer_checks(checks: Mapping[str, str]) -> JSONResponse:
    well = all(found == "ok" for found in checks.values())
    body = {"status": "ok" if well else "unavailable", "checks": checks}
    return JSONResponse(body, 200 if well else 503, headers=_NO_STORE)


async def answer_metrics(request: Request) -> Response:
    """Answer with all metrics in Prometheus' text format."""
    service: Service = request.app.state.service
    page = await anyio.to_thread.run_sync(service.metrics.render)
    return Response(page, media_type=CONTENT_TYPE, headers=_NO_STORE)


def _check_process(service: Service) -> dict[str, str]:
    return {"database": _check_database(service), "data": _check_data_directory(service)}


def _check_database(service: Service) -> str:
    try:
        with reading(service.db) as connection:
            # Select a row: for anything less SQLite doesn't read its file.
            connection.execute(select(ORGANIZATIONS.c.id).limit(1)).first()
    except StorageError:
        return "can't be read"
    return "ok" if service.probe.is_writable() else "can't be written"


def _check_data_directory(service: Service) -> str:
    folder = service.settings.data
    try:
        require_layout(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"ready")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"can't be written: {error.strerror}"
    except StorageError:
        return "isn't there"
    return "ok"


def _check_workers(service: Service) -> str:
    """Check that a worker is ready, anywhere; "starting" until it made its warm-up report."""
    try:
        if liveness.list_ready(service.db, service.settings):
            return "ok"
    except StorageError:
        return "not known: the database can't be read"
    return "starting" if liveness.list_living(service.settings) else "none is running"

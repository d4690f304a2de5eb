"""Whether the process lives, whether it can take requests, and whether the whole service does its work."""

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
from reelport.server.queue import liveness, worker_registry
from reelport.server.state.database import reading
from reelport.server.state.tables import ORGANIZATIONS

_LOG = structlog.get_logger(__name__)
_NO_STORE = {"Cache-Control": "no-store"}


async def live(_: Request) -> JSONResponse:
    """The process answers: no more is looked at."""
    return JSONResponse({"status": "ok"}, headers=_NO_STORE)


async def whole(request: Request) -> JSONResponse:
    """200 when reports can be asked for and made, else 503; every part is told."""
    checks = await anyio.to_thread.run_sync(_checks, request.app.state.service)
    _log_change(request.app.state, checks)
    return _answer(checks)


async def ready(request: Request) -> JSONResponse:
    """200 when this process can take requests, whether or not a worker lives: what a load balancer goes by."""
    return _answer(await anyio.to_thread.run_sync(_own_checks, request.app.state.service))


def _log_change(state: State, checks: Mapping[str, str]) -> None:
    """Log what is wrong when that has changed since the last look: probes come every few seconds."""
    before, state.checks = getattr(state, "checks", None), checks
    wrong = {part: found for part, found in checks.items() if found != "ok"}
    if wrong and checks != before:
        _LOG.warning("not well", **wrong)
    elif not wrong and before not in (None, checks):
        _LOG.info("well again")


def _answer(checks: Mapping[str, str]) -> JSONResponse:
    well = all(found == "ok" for found in checks.values())
    body = {"status": "ok" if well else "unavailable", "checks": checks}
    return JSONResponse(body, 200 if well else 503, headers=_NO_STORE)


async def metrics(request: Request) -> Response:
    """The counters, in the text form of Prometheus."""
    service: Service = request.app.state.service
    page = await anyio.to_thread.run_sync(service.metrics.page)
    return Response(page, media_type=CONTENT_TYPE, headers=_NO_STORE)


def _checks(service: Service) -> dict[str, str]:
    return _own_checks(service) | {"workers": _workers(service)}


def _own_checks(service: Service) -> dict[str, str]:
    return {"database": _database(service), "data": _data(service)}


def _database(service: Service) -> str:
    try:
        with reading(service.db) as connection:
            # A row: SQLite reads nothing of its file for less.
            connection.execute(select(ORGANIZATIONS.c.id).limit(1)).first()
    except StorageError:
        return "can't be read"
    return "ok" if service.probe.is_writable() else "can't be written"


def _data(service: Service) -> str:
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


def _workers(service: Service) -> str:
    """Whether any is ready, here or elsewhere; one that was just started has a report to warm up with first."""
    try:
        if worker_registry.list_ready(service.db, service.settings):
            return "ok"
    except StorageError:
        return "not known: the database can't be read"
    return "starting" if liveness.list_living(service.settings) else "none is running"

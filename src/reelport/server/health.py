"""Whether the process lives, whether it can take requests, and whether the whole service does its work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import anyio.to_thread
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reelport.errors import StorageError
from reelport.facts.layout import require_layout
from reelport.server import presence, worker_registry
from reelport.server.database import reading
from reelport.server.metrics import CONTENT_TYPE
from reelport.server.service import Service
from reelport.server.tables import ORGANIZATIONS

_NO_STORE = {"Cache-Control": "no-store"}


async def live(_: Request) -> JSONResponse:
    """The process answers: no more is looked at."""
    return JSONResponse({"status": "ok"}, headers=_NO_STORE)


async def whole(request: Request) -> JSONResponse:
    """200 when reports can be asked for and made, else 503; every part is told."""
    return await _told(request, _checks)


async def ready(request: Request) -> JSONResponse:
    """200 when this process can take requests, whether or not a worker lives: what a load balancer goes by."""
    return await _told(request, _own_checks)


async def _told(request: Request, look: Callable[[Service], dict[str, str]]) -> JSONResponse:
    checks = await anyio.to_thread.run_sync(look, request.app.state.service)
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
        if worker_registry.ready(service.db, service.settings):
            return "ok"
    except StorageError:
        return "not known: the database can't be read"
    return "starting" if presence.living(service.settings) else "none is running"

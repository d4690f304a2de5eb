"""The platform's state for its operators: `/studio/operator`. No partner's numbers."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.responses import Response

from reelport.server.settings import Settings
from reelport.server.studio import pages, platform
from reelport.server.studio.refusals import Refused
from reelport.server.studio.visit import Visit

if TYPE_CHECKING:
    from reelport.server.doctor.checks import Finding

PATH = f"{pages.ROOT}/operator"
_CHECKING = threading.Lock()


async def show_platform(visit: Visit) -> Response:
    """Show organizations, workers, queue, loads and disks."""
    return await _show(visit, None)


async def run_doctor(visit: Visit) -> Response:
    """Run what `reelport doctor` checks, over the whole data directory, and show the findings."""
    return await _show(visit, await anyio.to_thread.run_sync(_run_checks, visit.service.settings))


async def _show(visit: Visit, findings: tuple[Finding, ...] | None) -> Response:
    service = visit.service
    state = await anyio.to_thread.run_sync(platform.read_platform, service.db, service.settings, visit.now)
    # On a thread: hundreds of rows take longer than other requests should wait.
    return await anyio.to_thread.run_sync(partial(pages.render, visit, "operator.html", state=state, findings=findings))


def _run_checks(settings: Settings) -> tuple[Finding, ...]:
    """Run the checks, once at a time: each takes a core for a while."""
    from reelport.server.doctor.checks import run_checks  # noqa: PLC0415 - it loads the engine

    if not _CHECKING.acquire(blocking=False):
        sentence = "Somebody else began them: try again in a moment."
        raise Refused(503, "The checks are running", sentence, retry_after=10)
    try:
        return run_checks(settings)
    finally:
        _CHECKING.release()

"""Writes large pages in threads: few at a time, those of an organization in turn.

All share one core with the event loop, which answers others meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import anyio.to_thread
from starlette.responses import Response

from reelport.server.http.disconnection import run_while_connected
from reelport.server.studio.visit import Visit


async def write_page(visit: Visit, organization_id: Hashable, write: Callable[[], Response]) -> Response:
    """Call `write` in a thread at this organization's turn, while the browser waits."""
    return await run_while_connected(visit.request, partial(_write, visit, organization_id, write))


async def _write(visit: Visit, organization_id: Hashable, write: Callable[[], Response]) -> Response:
    service = visit.service
    async with service.page_turns.turn(organization_id):
        return await anyio.to_thread.run_sync(write, limiter=service.page_writers)

"""Computes the numbers of a view for a page, for as long as its browser waits."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Engine

from reelport.engine.tenant import Tenant
from reelport.server.access.callers import find_readable_channels
from reelport.server.explore.explorer import Superseded
from reelport.server.explore.numbers import Numbers
from reelport.server.explore.view import View
from reelport.server.http.disconnection import run_while_connected
from reelport.server.state.database import reading
from reelport.server.studio.refusals import Refused
from reelport.server.studio.visit import Visit

_TAB = "studio-tab"
"""The header by which the page's script names its tab: a newer view of a tab ends the one before."""


async def compute_view(visit: Visit, view: View, organization_id: int) -> Numbers:
    """Compute a view of an organization's numbers, for as long as the browser waits for them."""
    tenant = Tenant(await visit.service.reads.run(find_channels, organization_id))
    tab = visit.request.headers.get(_TAB)
    page = (visit.session.id, tab) if visit.session and tab else None
    compute = partial(visit.service.explorer.compute, view, tenant, organization_id, page)
    try:
        return await run_while_connected(visit.request, compute)
    except Superseded:
        raise Refused(409, "Another view was asked for", "This page shows a newer view by now.") from None


def find_channels(db: Engine, organization_id: int) -> frozenset[str]:
    """Find the channels (ids) that an organization may read."""
    with reading(db) as connection:
        return find_readable_channels(connection, organization_id)

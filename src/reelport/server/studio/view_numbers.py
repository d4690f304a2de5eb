"""The numbers of a view for a page, while its browser waits, and a view's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import anyio.to_thread
from sqlalchemy import Engine

from reelport.catalog.first_look import FIRST_DIMENSIONS, FIRST_METRICS
from reelport.engine.tenant import Tenant
from reelport.facts.log.freshness import Freshness, read_freshness
from reelport.server.access.callers import find_readable_channels
from reelport.server.explore.explorer import Superseded
from reelport.server.explore.numbers import Numbers
from reelport.server.explore.view import View
from reelport.server.explore.view_parameters import Defaults
from reelport.server.http.disconnection import run_while_connected
from reelport.server.reports.ask import make_rules
from reelport.server.state.database import reading
from reelport.server.studio.visit import Refused, Visit

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


async def load_freshness(visit: Visit) -> Mapping[str, Freshness]:
    """Load how fresh each fact table is now."""
    return await anyio.to_thread.run_sync(read_freshness, visit.service.settings.facts_root, visit.now.date())


def make_defaults(visit: Visit, freshness: Mapping[str, Freshness]) -> Defaults:
    """Make the defaults of a visit. Studio holds every scope: every metric may be shown."""
    complete = {name: each.complete for name, each in freshness.items()}
    first = {name: each.first for name, each in freshness.items()}
    rules = make_rules(visit.service.settings)
    return Defaults(FIRST_METRICS, FIRST_DIMENSIONS, complete, visit.now.date(), rules, first=first)

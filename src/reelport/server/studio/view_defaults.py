"""What a view is by default at a visit, and the rules that it must keep."""

from __future__ import annotations

from collections.abc import Mapping

import anyio.to_thread

from reelport.catalog.first_look import FIRST_DIMENSIONS, FIRST_METRICS
from reelport.facts.log.freshness import Freshness, read_freshness
from reelport.server.explore.view_parameters import Defaults
from reelport.server.reports.ask import make_rules
from reelport.server.studio.visit import Visit


async def load_freshness(visit: Visit) -> Mapping[str, Freshness]:
    """Load how fresh each fact table is now."""
    return await anyio.to_thread.run_sync(read_freshness, visit.service.settings.facts_root, visit.now.date())


def make_defaults(visit: Visit, freshness: Mapping[str, Freshness]) -> Defaults:
    """Make the defaults of a visit. Studio holds every scope: every metric may be shown."""
    complete = {name: each.complete for name, each in freshness.items()}
    first = {name: each.first for name, each in freshness.items()}
    rules = make_rules(visit.service.settings)
    return Defaults(FIRST_METRICS, FIRST_DIMENSIONS, complete, visit.now.date(), rules, first=first)

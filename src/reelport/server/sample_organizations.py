"""Fills a service with sample facts, and with organizations that may read them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from sqlalchemy import Engine

from reelport.errors import UsageError
from reelport.facts.log.table_identity import RECORD, identify_tables
from reelport.facts.sample.sample import Progress, SampleResult, check_arguments, generate
from reelport.server.access import organizations
from reelport.server.settings import Settings
from reelport.server.state.database import connected
from reelport.server.state.own_tables import require_own_tables


def fill(
    settings: Settings,
    start: date,
    end: date,
    rows: int,
    seed: int = 1,
    progress: Progress | None = None,
) -> SampleResult:
    """Load sample facts of these days; `demo` and `rival` may read their channels.

    A second call changes nothing. UsageError for arguments that are wrong and for tables of others, before anything is
    made, and when other sample facts are loaded for one of the days.
    """
    check_arguments(start, end, rows, seed)
    used = (settings.data / RECORD).exists()
    if settings.facts_url and not used and identify_tables(settings.data, settings.facts_root) is not None:
        raise UsageError(
            f"{settings.facts_url} holds the tables of a service already, and sample facts would be among them. Name "
            "another prefix (REELPORT_FACTS_URL)."
        )
    with connected(settings) as db:
        require_own_tables(db, settings)
        loaded = generate(settings.facts_root, start, end, rows, seed, progress)
        for name, channels in loaded.organizations.items():
            organizations.allow_channels(db, _organization(db, name).id, channels.values())
    return loaded


def _organization(db: Engine, name: str) -> organizations.Organization:
    known = {organization.name: organization for organization in organizations.list_organizations(db)}
    if name in known:
        return known[name]
    try:
        return organizations.add_organization(db, name, datetime.now(UTC))
    except UsageError:
        # Another process may have added it meanwhile.
        return organizations.get_organization(db, name)

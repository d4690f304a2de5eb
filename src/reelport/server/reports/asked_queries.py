"""Reads back what reports asked for, whose, and since when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Engine, select

from reelport.engine.tenant import Tenant
from reelport.query import ReportQuery
from reelport.server.state.database import reading
from reelport.server.state.tables import REPORTS

_MOST = 100_000
"""The reports that are read back at most, the newest."""


def list_asked_queries(db: Engine, since: datetime) -> Iterator[tuple[ReportQuery, Tenant]]:
    """List the queries of reports asked for since then, with their tenants; the newest first."""
    asked = select(REPORTS.c.query, REPORTS.c.channels).where(REPORTS.c.created_at >= since)
    with reading(db) as connection:
        rows = connection.execute(asked.order_by(REPORTS.c.created_at.desc()).limit(_MOST)).all()
    for row in rows:
        yield ReportQuery.from_wire(json.loads(row.query)), Tenant(frozenset(json.loads(row.channels)))

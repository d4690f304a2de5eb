"""The organizations for operators: how much of what each has, and a page of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import anyio.to_thread
from sqlalchemy import Engine
from starlette.responses import Response

from reelport.server.state.database import reading
from reelport.server.state.tables import to_moment
from reelport.server.studio import operator
from reelport.server.studio.operator import SQL
from reelport.server.studio.visit import Visit

_ORGANIZATIONS = 200


@dataclass(frozen=True, slots=True)
class OrganizationCounts:
    """How many channels, keys and people an organization has; `unfinished` reports wait or run."""

    id: int
    name: str
    created_at: datetime
    channels: int
    keys: int
    people: int
    unfinished: int


async def show_organizations(visit: Visit) -> Response:
    """Show at most 200 organizations, those with unfinished reports first."""
    rows, total = await anyio.to_thread.run_sync(read_organizations, visit.service.db)
    return await operator.render(visit, "operator_organizations.html", rows=rows, total=total)


def read_organizations(db: Engine) -> tuple[tuple[OrganizationCounts, ...], int]:
    """Read the organizations that are shown, and how many there are in all."""
    with reading(db) as connection:
        rows = tuple(
            OrganizationCounts(row.id, row.name, to_moment(row.created_at), *row[3:])
            for row in SQL.run(connection, "organizations", {"most": _ORGANIZATIONS})
        )
        return rows, SQL.run(connection, "total").scalar_one()

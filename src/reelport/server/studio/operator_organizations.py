"""The organizations for operators: how much of what each has, and a page of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import anyio.to_thread
from sqlalchemy import Engine
from starlette.responses import Response

from reelport.server.access import keys, people
from reelport.server.access.keys import Key, list_marks
from reelport.server.access.people import Person
from reelport.server.state.database import reading
from reelport.server.state.tables import to_moment
from reelport.server.studio import operator
from reelport.server.studio.operator import SQL, ReportDay, draw_report_days, read_report_days
from reelport.server.studio.visit import Visit, not_found

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


@dataclass(frozen=True, slots=True)
class OrganizationDetails:
    """An organization: its limits and what it uses of them, its keys, people and reports."""

    id: int
    name: str
    max_key_days: int | None
    channels: int
    running: int
    waiting: int
    keys: tuple[Key, ...]
    people: tuple[Person, ...]
    days: tuple[ReportDay, ...]


async def show_organization(visit: Visit) -> Response:
    """Show an organization's limits, keys, people and reports by day."""
    number = visit.named("organization")
    found = None
    if re.fullmatch("[0-9]{1,9}", number):
        found = await anyio.to_thread.run_sync(read_organization, visit.service.db, int(number), visit.now)
    if found is None:
        raise not_found()
    return await operator.render(
        visit,
        "operator_organization.html",
        found=found,
        settings=visit.service.settings,
        marks={key.id: list_marks(key, visit.now) for key in found.keys},
        charts=await anyio.to_thread.run_sync(draw_report_days, found.days),
    )


def read_organization(db: Engine, organization_id: int, now: datetime) -> OrganizationDetails | None:
    """Read an organization; None where there is none of that id."""
    with reading(db) as connection:
        row = SQL.run(connection, "organization", {"organization": organization_id}).first()
    if row is None:
        return None
    held = tuple(key for key in keys.list_keys(db, row.name) if key.revoked_at is None)
    persons = people.list_people(db, organization_id, now)
    days = read_report_days(db, now, organization_id)
    return OrganizationDetails(
        organization_id, row.name, row.max_key_days, row.channels, row.running, row.waiting, held, persons, days
    )

"""The organizations for operators: how much of what each has, and a page of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import anyio.to_thread
from sqlalchemy import Engine
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.language import N_
from reelport.server.access import keys, looks, people
from reelport.server.access.keys import Key, list_marks
from reelport.server.access.people import Person
from reelport.server.reports.report_days import ReportDay, read_report_days
from reelport.server.state.database import reading
from reelport.server.state.statements import Statements
from reelport.server.state.tables import to_moment
from reelport.server.studio import operator, pages
from reelport.server.studio.operator import draw_report_days
from reelport.server.studio.visit import Refused, Visit, not_found

_SQL = Statements("studio/platform")
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
            for row in _SQL.run(connection, "organizations", {"most": _ORGANIZATIONS})
        )
        return rows, _SQL.run(connection, "total").scalar_one()


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
    found = await anyio.to_thread.run_sync(read_organization, visit.service.db, _read_id(visit), visit.now)
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


def _read_id(visit: Visit) -> int:
    """Read the id of the address; 0, which no organization has, for anything else."""
    return int(visit.named("organization")) if re.fullmatch("[0-9]{1,9}", visit.named("organization")) else 0


async def begin_look(visit: Visit) -> Response:
    """Begin to look at an organization, and lead to its first page."""
    begin = partial(
        looks.begin_look,
        visit.service.db,
        visit.user,
        _read_id(visit),
        visit.form.text("reason"),
        visit.actor,
        visit.now,
    )
    try:
        has_begun = await anyio.to_thread.run_sync(begin)
    except UsageError as error:
        raise Refused(400, N_("The reason is missing"), str(error)) from None
    if not has_begun:
        raise not_found()
    return pages.redirect(f"{pages.ROOT}/overview")


async def end_look(visit: Visit) -> Response:
    """End the look of this session, and lead back to the organization's page for operators."""
    looked = visit.user.organization_id if visit.user.look else None
    await anyio.to_thread.run_sync(looks.end_look, visit.service.db, visit.user, visit.now)
    return pages.redirect(f"{operator.PATH}/organizations/{looked}" if looked else pages.ROOT)


def read_organization(db: Engine, organization_id: int, now: datetime) -> OrganizationDetails | None:
    """Read an organization; None where there is none of that id."""
    with reading(db) as connection:
        row = _SQL.run(connection, "organization", {"organization": organization_id}).first()
    if row is None:
        return None
    held = tuple(key for key in keys.list_keys(db, row.name) if key.revoked_at is None)
    persons = people.list_people(db, organization_id, now)
    days = read_report_days(db, now, organization_id)
    return OrganizationDetails(
        organization_id, row.name, row.max_key_days, row.channels, row.running, row.waiting, held, persons, days
    )

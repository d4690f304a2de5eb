"""The organizations for operators: how much of what each has, and a page of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio.to_thread
from sqlalchemy import Engine, Row
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.language import N_
from reelport.server.access import keys, looks, people
from reelport.server.access.keys import list_marks
from reelport.server.reports.report_days import read_report_days
from reelport.server.state.database import reading
from reelport.server.state.statements import Statements
from reelport.server.state.tables import to_moment
from reelport.server.studio import operator, pages
from reelport.server.studio.operator import draw_report_days
from reelport.server.studio.visit import Refused, Visit, not_found

_SQL = Statements("studio/platform")
_ORGANIZATIONS = 200


async def show_organizations(visit: Visit) -> Response:
    """Show at most 200 organizations, those with unfinished reports first."""
    rows = await anyio.to_thread.run_sync(read_organizations, visit.service.db)
    return await operator.render(visit, "operator_organizations.html", rows=rows, to_moment=to_moment)


def read_organizations(db: Engine, organization_id: int | None = None) -> Sequence[Row[*tuple[Any, ...]]]:
    """Read counts of what organizations have, of all or of one; `total` is how many there are."""
    with reading(db) as connection:
        values = {"organization": organization_id, "most": _ORGANIZATIONS}
        return _SQL.run(connection, "organizations", values).all()


async def show_organization(visit: Visit) -> Response:
    """Show an organization's limits, keys, people and reports by day."""
    found = await anyio.to_thread.run_sync(_read_organization, visit)
    return await operator.render(visit, "operator_organization.html", settings=visit.service.settings, **found)


def _read_organization(visit: Visit) -> dict[str, object]:
    db, id_, now = visit.service.db, _read_id(visit), visit.now
    if not (rows := read_organizations(db, id_)):
        raise not_found()
    held = [key for key in keys.list_keys(db, rows[0].name) if key.revoked_at is None]
    days = read_report_days(db, now, id_)
    return {
        "found": rows[0],
        "keys": [(key, list_marks(key, now)) for key in held],
        "people": people.list_people(db, id_, now),
        "days": days,
        "charts": draw_report_days(days),
    }


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

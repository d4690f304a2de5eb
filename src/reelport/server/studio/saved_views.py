"""The saved views of an organization: `/studio/saved`, and the views as rows of the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import anyio.to_thread
from sqlalchemy import ColumnElement, Connection, Engine, Row, func, select
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import clean_text
from reelport.server.explore.view import Pairs, Parameter, View
from reelport.server.explore.view_parameters import Defaults, ParsedView, parse_view
from reelport.server.state.database import reading, write
from reelport.server.state.tables import SAVED_VIEWS
from reelport.server.studio import pages, report_form
from reelport.server.studio.explore import read_defaults
from reelport.server.studio.pages import write_page
from reelport.server.studio.visit import Refused, Visit, not_found
from reelport.wording import clean_line

PATH = f"{pages.ROOT}/saved"
_OWN_FIELDS = frozenset({"csrf", "name", "days"})
_LONGEST_NAME = 100
_MOST = 500  # saved views of one organization


@dataclass(frozen=True, slots=True)
class SavedView:
    """A view with its name.

    `parameters` are those of its URL, without days where it moves on. `created_by` is a user's e-mail address.
    """

    id: str
    name: str
    parameters: Pairs
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListedView:
    """A saved view as the page shows it: in words, as links, and what is wrong with it by now.

    `newest` asks for as many days up to the last complete one; None for a view whose days move on by themselves.
    """

    saved: SavedView
    parsed: ParsedView
    newest: str | None
    may_change: bool

    @property
    def fields(self) -> Pairs:
        """The fields of a form that is about this view."""
        return self.parsed.view.at_its_days().params()


async def show_saved(visit: Visit, problems: Sequence[str] = ()) -> Response:
    """List the saved views by name."""

    def write() -> Response:
        defaults = read_defaults(visit)
        found = list_saved_views(visit.service.db, visit.organization_id)
        views = [_list_view(visit, saved, defaults) for saved in found]
        return pages.render(visit, "saved.html", 422 if problems else 200, views=views, problems=problems)

    return await write_page(visit, visit.organization_id, write)


async def save(visit: Visit) -> Response:
    """Save the view of a form under its name."""
    parsed = await read_view(visit)
    name = visit.form.text("name")
    work = partial(save_view, visit.service.db, visit.organization_id, visit.actor)
    try:
        await anyio.to_thread.run_sync(work, name, parsed.view, visit.now)
    except UsageError as error:
        return await show_saved(visit, [str(error)])
    return pages.redirect(PATH)


async def delete_view(visit: Visit) -> Response:
    """Delete a saved view."""
    service, organization_id = visit.service, visit.organization_id
    find = partial(find_saved_view, service.db, organization_id, visit.request.path_params["view_id"])
    found = await anyio.to_thread.run_sync(find)
    if found is None:
        raise not_found()
    if not visit.may_change(found.created_by):
        sentence = "You may delete the views that you saved. An owner of your organization may delete any."
        raise Refused(403, "Not yours to do", sentence)
    delete = partial(delete_saved_view, service.db, organization_id, visit.actor, found, visit.now)
    await anyio.to_thread.run_sync(delete)
    return pages.redirect(PATH)


async def read_view(visit: Visit) -> ParsedView:
    """Read the view of a form; Refused when something is wrong: no other is taken for it."""
    # A range by its name has the days that it has now, which may be others than when the form was shown.
    left_out = {*_OWN_FIELDS, *({Parameter.START, Parameter.END} if visit.form.text(Parameter.PRESET) else ())}
    pairs = [pair for pair in visit.form.fields if pair[0] not in left_out]
    parsed = parse_view(pairs, await anyio.to_thread.run_sync(read_defaults, visit))
    if parsed.problems:
        sentences = " ".join(problem.sentence for problem in parsed.problems)
        raise Refused(422, "This view can't be kept", sentences)
    return parsed


def _list_view(visit: Visit, saved: SavedView, defaults: Defaults) -> ListedView:
    parsed = parse_view(saved.parameters, defaults)
    newest = None
    if parsed.view.preset is None:
        kept = [pair for pair in parsed.view.params() if pair[0] not in {Parameter.START, Parameter.END}]
        start, end = report_form.shift_days(parsed.view.days, defaults.last_day(parsed.view.metrics))
        newest = report_form.write_link([*kept, (Parameter.START, f"{start}"), (Parameter.END, f"{end}")])
    return ListedView(saved, parsed, newest, visit.may_change(saved.created_by))


def save_view(db: Engine, organization_id: int, actor: Actor, name: str, view: View, now: datetime) -> str:
    """Save a view under a name, and return its id; UsageError for a bad name, or too many.

    Its days move on where a range's name chose them.
    """
    cleaned = clean_name(name)

    def save(connection: Connection) -> str:
        saved = select(func.count()).select_from(SAVED_VIEWS).where(SAVED_VIEWS.c.organization_id == organization_id)
        if connection.execute(saved).scalar_one() >= _MOST:
            raise UsageError(f"{_MOST} views are saved already: delete some that nobody needs.")
        row = {
            "id": credentials.short_id(),
            "organization_id": organization_id,
            "name": cleaned,
            "parameters": view.rolling_query(),
            "created_by": actor.name,
            "created_at": now,
        }
        connection.execute(SAVED_VIEWS.insert().values(**row))
        audit_log.record_action(connection, organization_id, actor, Action.VIEW_SAVED, cleaned, now)
        return str(row["id"])

    return write(db, save)


def list_saved_views(db: Engine, organization_id: int) -> tuple[SavedView, ...]:
    """List an organization's saved views by name."""
    of_organization = SAVED_VIEWS.c.organization_id == organization_id
    wanted = select(SAVED_VIEWS).where(of_organization).order_by(SAVED_VIEWS.c.name, SAVED_VIEWS.c.id)
    with reading(db) as connection:
        return tuple(_make_view(row) for row in connection.execute(wanted))


def find_saved_view(db: Engine, organization_id: int, view_id: str) -> SavedView | None:
    """Find a saved view; None for an unknown one and for another organization's."""
    with reading(db) as connection:
        row = connection.execute(select(SAVED_VIEWS).where(*_is(organization_id, view_id))).first()
    return None if row is None else _make_view(row)


def delete_saved_view(db: Engine, organization_id: int, actor: Actor, view: SavedView, now: datetime) -> bool:
    """Delete a saved view; False when it was deleted before."""

    def delete(connection: Connection) -> bool:
        deleted = connection.execute(SAVED_VIEWS.delete().where(*_is(organization_id, view.id))).rowcount == 1
        if deleted:
            audit_log.record_action(connection, organization_id, actor, Action.VIEW_DELETED, view.name, now)
        return deleted

    return write(db, delete)


def clean_name(name: str) -> str:
    """Put a name on one line. UsageError when it is empty or too long."""
    cleaned = clean_line(clean_text(name)).strip()
    if not cleaned:
        raise UsageError("Give the view a name.")
    if len(cleaned) > _LONGEST_NAME:
        raise UsageError(f"The name has {len(cleaned)} characters: {_LONGEST_NAME} are the most.")
    return cleaned


def read_parameters(text: str) -> Pairs:
    """Read the stored parameters of a view's URL."""
    return tuple(parse_qsl(text, keep_blank_values=True))


def _make_view(row: Row[*tuple[Any, ...]]) -> SavedView:
    return SavedView(row.id, row.name, read_parameters(row.parameters), row.created_by, row.created_at)


def _is(organization_id: int, view_id: str) -> tuple[ColumnElement[bool], ...]:
    return SAVED_VIEWS.c.organization_id == organization_id, SAVED_VIEWS.c.id == clean_text(view_id)

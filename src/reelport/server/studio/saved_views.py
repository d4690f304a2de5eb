"""Views that an organization saved by name, `/studio/saved`, or pinned to its overview."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import anyio.to_thread
from sqlalchemy import Connection, Engine, Row, Select, func, select
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.language import N_
from reelport.server import credentials
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import clean_text
from reelport.server.access.roles import Reach
from reelport.server.explore.view import Pairs, Parameter, View
from reelport.server.explore.view_parameters import Defaults, ParsedView, parse_view
from reelport.server.state.database import reading, write
from reelport.server.state.tables import SAVED_VIEWS
from reelport.server.studio import pages
from reelport.server.studio.explore import read_defaults
from reelport.server.studio.pages import write_page
from reelport.server.studio.visit import Refused, Visit, not_found
from reelport.wire import Code
from reelport.wording import clean_line

_PATH = f"{pages.ROOT}/saved"
_OWN_FIELDS = frozenset({"csrf", "name", "days", "folder", "hosts"})
_LONGEST_NAME = 100
_MOST_SAVED = 500  # saved views of one organization
_MOST_PINNED = 8  # pinned ones of one organization


@dataclass(frozen=True, slots=True)
class KeptView:
    """A view that somebody gave a name, and keeps or shares.

    `parameters` are those of its URL, without days where it moves on. `created_by` is a user's e-mail address.
    """

    id: str
    name: str
    parameters: Pairs
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SavedView(KeptView):
    """A view that everybody of its organization finds, in a folder or none, and pinned or not."""

    folder: str = ""
    is_pinned: bool = False


Kept = TypeVar("Kept", bound=KeptView)


async def show_saved(visit: Visit) -> Response:
    """List the saved views by folder and name; those that are in none come first."""

    def write() -> Response:
        views = find_shown_views(visit, read_defaults(visit))
        folders = {name: list(shown) for name, shown in groupby(sorted(views, key=_get_folder), key=_get_folder)}
        return pages.render(visit, "saved.html", folders=folders)

    return await write_page(visit, visit.organization_id, write)


async def save(visit: Visit) -> Response:
    """Save the view of a form under its name."""
    view = await read_view(visit)
    given = visit.organization_id, visit.actor, visit.form.text("name"), view, visit.now, visit.form.text("folder")
    await anyio.to_thread.run_sync(save_view, visit.service.db, *given)
    return pages.redirect(_PATH)


async def place_view(visit: Visit) -> Response:
    """Put a saved view into a folder, and on the overview or off it."""
    sentence = N_("You may place the views that you saved. An owner of your organization may place any.")
    found = await find_own(visit, find_saved_view, sentence)
    given = visit.organization_id, visit.actor, found, visit.form.text("folder"), visit.form.has("pinned"), visit.now
    await anyio.to_thread.run_sync(place_saved_view, visit.service.db, *given)
    return pages.redirect(_PATH)


def find_shown_views(visit: Visit, defaults: Defaults) -> Iterator[tuple[SavedView, ParsedView]]:
    """Find the saved views that a visitor may know of, by name, with what they show now.

    A view of earnings is shown to nobody without that scope. Reads the state: call it in a thread.
    """
    for saved in list_saved_views(visit.service.db, visit.organization_id):
        parsed = parse_view(saved.parameters, defaults)
        is_missing = any(problem.code is Code.SCOPE_MISSING for problem in parsed.problems)
        if not is_missing and may_know(visit, parsed.view, saved.created_by):
            yield saved, parsed


async def delete_view(visit: Visit) -> Response:
    """Delete a saved view."""
    sentence = N_("You may delete the views that you saved. An owner of your organization may delete any.")
    found = await find_own(visit, find_saved_view, sentence)
    work = partial(delete_saved_view, visit.service.db, visit.organization_id, visit.actor, found, visit.now)
    await anyio.to_thread.run_sync(work)
    return pages.redirect(_PATH)


async def find_own(visit: Visit, find: Callable[[Engine, Reach, str], Kept | None], sentence: str) -> Kept:
    """Find what the path names. Refused where it is missing, or somebody else made it."""
    found = await anyio.to_thread.run_sync(find, visit.service.db, visit.reach, visit.named("view_id"))
    if found is None:
        raise not_found()
    if not visit.may_change(found.created_by):
        raise Refused(403, N_("Not yours to do"), sentence)
    return found


async def read_view(visit: Visit) -> View:
    """Read the view of a form; Refused when something is wrong: no other is taken for it."""
    # A range by its name has the days that it has now, which may be others than when the form was shown.
    left_out = {*_OWN_FIELDS, *({Parameter.START, Parameter.END} if visit.form.text(Parameter.PRESET) else ())}
    pairs = [pair for pair in visit.form.fields if pair[0] not in left_out]
    parsed = parse_view(pairs, await anyio.to_thread.run_sync(read_defaults, visit))
    if parsed.problems:
        sentences = " ".join(problem.sentence for problem in parsed.problems)
        raise Refused(422, N_("This view can't be kept"), sentences)
    return parsed.view


def may_know(visit: Visit, view: View, created_by: str) -> bool:
    """Whether a visitor may read what a kept view names.

    Somebody with some channels alone sees none of others that names a value: it may be a channel or a video of theirs.
    """
    names_value = view.kept or view.search or any(not row.choices for row, _ in view.filters)
    return visit.reach.channels is None or not names_value or created_by == visit.user.email


def save_view(
    db: Engine, organization_id: int, actor: Actor, name: str, view: View, now: datetime, folder: str = ""
) -> str:
    """Save a view under a name, and return its id; UsageError for a bad name, or too many.

    Its days move on where a range's name chose them.
    """
    cleaned, place = clean_name(name), _clean_folder(folder)

    def save(connection: Connection) -> str:
        saved = select(func.count()).select_from(SAVED_VIEWS).where(SAVED_VIEWS.c.organization_id == organization_id)
        if connection.execute(saved).scalar_one() >= _MOST_SAVED:
            raise UsageError(f"{_MOST_SAVED} views are saved already: delete some that nobody needs.")
        row = {
            "id": credentials.short_id(),
            "organization_id": organization_id,
            "name": cleaned,
            "parameters": view.rolling_query(),
            "created_by": actor.name,
            "created_at": now,
            "folder": place,
        }
        connection.execute(SAVED_VIEWS.insert().values(**row))
        audit_log.record_action(connection, organization_id, actor, Action.VIEW_SAVED, cleaned, now)
        return str(row["id"])

    return write(db, save)


def list_saved_views(db: Engine, organization_id: int) -> tuple[SavedView, ...]:
    """List an organization's saved views by name."""
    of_organization = SAVED_VIEWS.c.organization_id == organization_id
    wanted = select(SAVED_VIEWS).where(of_organization).order_by(SAVED_VIEWS.c.name, SAVED_VIEWS.c.id)
    return tuple(map(_make_saved, read_rows(db, wanted)))


def find_saved_view(db: Engine, reach: Reach, view_id: str) -> SavedView | None:
    """Find a saved view; None for an unknown one and for another organization's."""
    own = SAVED_VIEWS.c.organization_id == reach.organization_id, SAVED_VIEWS.c.id == clean_text(view_id)
    return next(map(_make_saved, read_rows(db, select(SAVED_VIEWS).where(*own))), None)


def delete_saved_view(db: Engine, organization_id: int, actor: Actor, view: SavedView, now: datetime) -> bool:
    """Delete a saved view; False when it was deleted before."""

    def delete(connection: Connection) -> bool:
        deleted = connection.execute(SAVED_VIEWS.delete().where(SAVED_VIEWS.c.id == view.id)).rowcount == 1
        if deleted:
            audit_log.record_action(connection, organization_id, actor, Action.VIEW_DELETED, view.name, now)
        return deleted

    return write(db, delete)


def place_saved_view(
    db: Engine, organization_id: int, actor: Actor, view: SavedView, folder: str, pinned: bool, now: datetime
) -> None:
    """Put a saved view into a folder (empty: none), and pin it or not.

    UsageError for a bad name, or too many pins.
    """
    place = _clean_folder(folder)

    def change(connection: Connection) -> None:
        of_organization = SAVED_VIEWS.c.organization_id == organization_id
        others = of_organization, SAVED_VIEWS.c.pinned_at.is_not(None), SAVED_VIEWS.c.id != view.id
        count = connection.execute(select(func.count()).select_from(SAVED_VIEWS).where(*others)).scalar_one()
        if pinned and count >= _MOST_PINNED:
            raise UsageError(f"{_MOST_PINNED} views are pinned already: take another one off the overview first.")
        placed = SAVED_VIEWS.update().where(of_organization, SAVED_VIEWS.c.id == view.id)
        connection.execute(placed.values(folder=place, pinned_at=now if pinned else None))
        details = {"folder": place, "pinned": pinned}
        audit_log.record_action(connection, organization_id, actor, Action.VIEW_PLACED, view.name, now, details)

    write(db, change)


def _get_folder(shown: tuple[SavedView, ParsedView]) -> str:
    return shown[0].folder


def _clean_folder(folder: str) -> str:
    return clean_name(folder) if folder.strip() else ""


def clean_name(name: str) -> str:
    """Clean a view's name to one line; UsageError for none and for one that is too long."""
    cleaned = clean_line(clean_text(name)).strip()
    if not cleaned:
        raise UsageError("Give the view a name.")
    if len(cleaned) > _LONGEST_NAME:
        raise UsageError(f"The name has {len(cleaned)} characters: {_LONGEST_NAME} are the most.")
    return cleaned


def read_rows(db: Engine, wanted: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
    """Read the rows of a statement."""
    with reading(db) as connection:
        return connection.execute(wanted).all()


def _make_saved(row: Row[*tuple[Any, ...]]) -> SavedView:
    parameters, is_pinned = parse_parameters(row), row.pinned_at is not None
    return SavedView(row.id, row.name, parameters, row.created_by, row.created_at, row.folder, is_pinned)


def parse_parameters(row: Row[*tuple[Any, ...]]) -> Pairs:
    """Parse the parameters of a kept view, as its row has them."""
    return tuple(parse_qsl(row.parameters, keep_blank_values=True))

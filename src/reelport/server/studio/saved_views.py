"""Saved views: views of an organization that somebody gave a name, as rows of the state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy import ColumnElement, Connection, Engine, Row, func, select

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import clean_text
from reelport.server.explore.view import Pairs, View
from reelport.server.state.database import reading, write
from reelport.server.state.tables import SAVED_VIEWS
from reelport.wording import clean_line

LONGEST_NAME = 100
MOST = 500
"""Saved views of one organization."""


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


def save_view(db: Engine, organization_id: int, actor: Actor, name: str, view: View, now: datetime) -> str:
    """Save a view under a name, and return its id. One whose days were chosen by a range's name moves on with it.

    UsageError for a bad name, and when there are too many.
    """
    cleaned = clean_name(name)

    def save(connection: Connection) -> str:
        if _count(connection, organization_id) >= MOST:
            raise UsageError(f"{MOST} views are saved already: delete some that nobody needs.")
        row = {
            "id": credentials.short_id(),
            "organization_id": organization_id,
            "name": cleaned,
            "parameters": view.rolling_query(),
            "created_by": actor.name,
            "created_at": now,
        }
        connection.execute(SAVED_VIEWS.insert().values(**row))
        _record(connection, organization_id, actor, Action.VIEW_SAVED, cleaned, now)
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
            _record(connection, organization_id, actor, Action.VIEW_DELETED, view.name, now)
        return deleted

    return write(db, delete)


def clean_name(name: str) -> str:
    """Put a name on one line. UsageError when it is empty or too long."""
    cleaned = clean_line(clean_text(name)).strip()
    if not cleaned:
        raise UsageError("Give the view a name.")
    if len(cleaned) > LONGEST_NAME:
        raise UsageError(f"The name has {len(cleaned)} characters: {LONGEST_NAME} are the most.")
    return cleaned


def read_parameters(text: str) -> Pairs:
    """Read the stored parameters of a view's URL."""
    return tuple(parse_qsl(text, keep_blank_values=True))


def _make_view(row: Row[*tuple[Any, ...]]) -> SavedView:
    return SavedView(row.id, row.name, read_parameters(row.parameters), row.created_by, row.created_at)


def _is(organization_id: int, view_id: str) -> tuple[ColumnElement[bool], ...]:
    return SAVED_VIEWS.c.organization_id == organization_id, SAVED_VIEWS.c.id == clean_text(view_id)


def _count(connection: Connection, organization_id: int) -> int:
    saved = select(func.count()).select_from(SAVED_VIEWS).where(SAVED_VIEWS.c.organization_id == organization_id)
    found: int = connection.execute(saved).scalar_one()
    return found


def _record(
    connection: Connection, organization_id: int, actor: Actor, action: Action, name: str, now: datetime
) -> None:
    audit_log.record_action(connection, organization_id, actor, action, name, now)

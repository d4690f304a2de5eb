"""The pages of an organization's keys: `/studio/keys`, one key, the form for a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio.to_thread
from sqlalchemy import Connection, Engine
from starlette.responses import Response

from reelport.catalog import Scope
from reelport.server.access import channel_registry, keys, organizations
from reelport.server.access.callers import clean_text
from reelport.server.access.channel_registry import Channel
from reelport.server.access.key_expiry import MOST_DAYS, KeyKind
from reelport.server.access.keys import Key, expires_soon, list_marks
from reelport.server.access.organizations import Organization
from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.server.state.tables import to_milliseconds
from reelport.server.studio import key_forms, pages
from reelport.server.studio.pages import write_page
from reelport.server.studio.refusals import not_found
from reelport.server.studio.visit import Visit

T = TypeVar("T")

MOST_BOXES = 100
"""Channels above which a key's limit is typed, not ticked."""
_FIRST_SCOPES = (Scope.CREATE_REPORTS, Scope.READ_REPORTS)
"""Switched on in the form for a new key."""
_DEFAULT_DAYS = 90


async def show_keys(visit: Visit) -> Response:
    """Show the organization's keys."""
    return await render_keys(visit)


async def show_key(visit: Visit) -> Response:
    """Show one key, and what may be done with it."""
    return await render_key(visit)


async def show_new_key(visit: Visit) -> Response:
    """Show the form for a new key."""
    return await render_new_key(visit)


async def show_revocation(visit: Visit) -> Response:
    """Ask whether a key is to be revoked."""
    return pages.render(visit, "key_revoke.html", key=await find_key(visit))


async def render_keys(visit: Visit, status: int = 200, problems: Sequence[str] = ()) -> Response:
    """Render the list of keys, with the problems of a form of it."""
    holder, found = await anyio.to_thread.run_sync(_read_keys, visit.service.db, visit.organization)
    valid = [key for key in found if key.revoked_at is None]

    def write() -> Response:
        return pages.render(
            visit,
            "keys.html",
            status,
            keys=valid,
            revoked=[key for key in found if key.revoked_at is not None],
            ending=[key for key in valid if expires_soon(key, visit.now)],
            marks={key.id: list_marks(key, visit.now) for key in found},
            max_days=holder.max_key_days,
            most_days=MOST_DAYS,
            problems=problems,
        )

    return await write_page(visit, visit.organization_id, write)


async def render_key(visit: Visit, status: int = 200, problems: Sequence[str] = ()) -> Response:
    """Render the page of a key, with the problems of a form of it."""
    key = await find_key(visit)
    return pages.render(
        visit,
        "key.html",
        status,
        key=key,
        marks=list_marks(key, visit.now),
        channels=None if key.channels is None else await _name_channels(visit, key.channels),
        scopes=[scope for scope in Scope if scope.value in key.permissions],
        is_valid=key.revoked_at is None and not key.is_expired(visit.now),
        has_old_secret=key.old_secret_until is not None and visit.now < key.old_secret_until,
        version=to_milliseconds(key.rotated_at),
        grace=visit.form.text("grace") or keys.DEFAULT_GRACE_HOURS,
        most_grace=keys.MOST_GRACE_HOURS,
        problems=problems,
    )


async def render_new_key(visit: Visit, status: int = 200, problems: Sequence[str] = ()) -> Response:
    """Render the form for a new key, with what was typed and its problems."""
    settings, db, form = visit.service.settings, visit.service.db, visit.form
    holder, channels = await anyio.to_thread.run_sync(_read_choices, settings, db, visit.organization)
    days = min(_DEFAULT_DAYS, holder.max_key_days or _DEFAULT_DAYS)
    return pages.render(
        visit,
        "key_new.html",
        status,
        ticket=key_forms.make_ticket(visit),
        kinds=(KeyKind.PRIVATE, KeyKind.PUBLIC),
        kind=form.text("kind", KeyKind.PRIVATE),
        name=form.text("name"),
        scopes=Scope,
        chosen=form.texts("scope") if problems else _FIRST_SCOPES,
        channels=channels if len(channels) <= MOST_BOXES else None,
        limit=form.texts("channel"),
        typed=form.text("channels"),
        expires=form.text("expires") if problems else str(days),
        max_days=holder.max_key_days,
        problems=problems,
    )


async def find_key(visit: Visit) -> Key:
    """Find the key that the path names; Refused (404) when it isn't the organization's."""

    def look(connection: Connection) -> Key | None:
        return keys.look_for_key(connection, clean_text(visit.request.path_params["key_id"]))

    found = await read(visit.service.db, look)
    if found is None or found.organization_id != visit.organization_id:
        raise not_found()
    return found


async def read(db: Engine, work: Callable[[Connection], T]) -> T:
    """Call `work` on a thread, in a transaction that reads."""

    def call() -> T:
        with reading(db) as connection:
            return work(connection)

    return await anyio.to_thread.run_sync(call)


def _read_keys(db: Engine, organization: str) -> tuple[Organization, tuple[Key, ...]]:
    return organizations.get_organization(db, organization), keys.list_keys(db, organization)


def _read_choices(settings: Settings, db: Engine, organization: str) -> tuple[Organization, tuple[Channel, ...]]:
    """Read an organization and the channels that it may read, by slug."""
    holder = organizations.get_organization(db, organization)
    readable = organizations.list_readable_channels(db, holder.id)
    known = {each.id: each for each in channel_registry.list_channels(settings)}
    channels = [known.get(id_, Channel(id_, id_)) for id_ in readable]
    return holder, tuple(sorted(channels, key=lambda each: (each.slug, each.id)))


async def _name_channels(visit: Visit, ids: Sequence[str]) -> list[str]:
    """Return the slugs of channels; the id of one that no table names."""
    known = await anyio.to_thread.run_sync(channel_registry.list_channels, visit.service.settings)
    slugs = {each.id: each.slug for each in known}
    return sorted(slugs.get(id_, id_) for id_ in ids)

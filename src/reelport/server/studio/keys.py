"""The pages and forms of an organization's keys: `/studio/keys`, one key, a new one.

A secret is shown in the answer to a form. Whoever loads that answer again sends the form again: it must then neither
make a second key nor show the secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio.to_thread
from sqlalchemy import Connection, Engine
from starlette.responses import PlainTextResponse, Response

from reelport.catalog import Scope
from reelport.errors import UsageError
from reelport.language import N_, _
from reelport.server import credentials
from reelport.server.access import channel_registry, keys, organizations
from reelport.server.access.callers import clean_text
from reelport.server.access.channel_registry import Channel
from reelport.server.access.key_expiry import MOST_DAYS, KeyKind, parse_max_days
from reelport.server.access.keys import Key, KeyDetails, NewKey, SentBefore, expires_soon, list_marks
from reelport.server.access.organizations import Organization
from reelport.server.settings import Settings
from reelport.server.state.database import reading, write
from reelport.server.state.tables import to_milliseconds
from reelport.server.studio import pages
from reelport.server.studio.pages import write_page
from reelport.server.studio.visit import Refused, Visit, not_found

T = TypeVar("T")

_MOST_BOXES = 100  # channels above which a key's limit is typed, not ticked
_FIRST_SCOPES = (Scope.CREATE_REPORTS, Scope.READ_REPORTS)  # switched on in the form for a new key
_DEFAULT_DAYS = 90
_INVALID = 422  # the status of a form that is shown again with its problems
_SEPARATORS = re.compile(r"[\s,]+")
_TICKET = "rpn"


async def show_revocation(visit: Visit) -> Response:
    """Ask whether a key is to be revoked."""
    return pages.render(visit, "key_revoke.html", key=await _find_key(visit))


async def show_keys(visit: Visit, problems: Sequence[str] = ()) -> Response:
    """Show the organization's keys."""
    db, organization = visit.service.db, visit.organization
    holder = await anyio.to_thread.run_sync(organizations.get_organization, db, organization)
    found = await anyio.to_thread.run_sync(keys.list_keys, db, organization)
    valid = [key for key in found if key.revoked_at is None]

    def write() -> Response:
        return pages.render(
            visit,
            "keys.html",
            _INVALID if problems else 200,
            keys=valid,
            revoked=[key for key in found if key.revoked_at is not None],
            ending=[key for key in valid if expires_soon(key, visit.now)],
            marks={key.id: list_marks(key, visit.now) for key in found},
            max_days=holder.max_key_days,
            most_days=MOST_DAYS,
            problems=problems,
        )

    return await write_page(visit, visit.organization_id, write)


async def show_key(visit: Visit, problems: Sequence[str] = ()) -> Response:
    """Show one key, and what may be done with it."""
    key, slugs = await _find_key(visit), dict[str, str]()
    if key.channels is not None:
        known = await anyio.to_thread.run_sync(channel_registry.list_channels, visit.service.settings)
        slugs = {each.id: each.slug for each in known}
    return pages.render(
        visit,
        "key.html",
        _INVALID if problems else 200,
        key=key,
        marks=list_marks(key, visit.now),
        channels=None if key.channels is None else sorted(slugs.get(id_, id_) for id_ in key.channels),
        scopes=[scope for scope in Scope if scope.value in key.permissions],
        is_valid=key.revoked_at is None and not key.is_expired(visit.now),
        has_old_secret=key.old_secret_until is not None and visit.now < key.old_secret_until,
        version=to_milliseconds(key.rotated_at),
        grace=visit.form.text("grace") or keys.DEFAULT_GRACE_HOURS,
        most_grace=keys.MOST_GRACE_HOURS,
        problems=problems,
    )


async def show_new_key(visit: Visit, problems: Sequence[str] = ()) -> Response:
    """Show the form for a new key."""
    settings, db, form = visit.service.settings, visit.service.db, visit.form
    holder, channels = await anyio.to_thread.run_sync(read_choices, settings, db, visit.organization)
    days = min(_DEFAULT_DAYS, holder.max_key_days or _DEFAULT_DAYS)
    return pages.render(
        visit,
        "key_new.html",
        _INVALID if problems else 200,
        ticket=_make_ticket(visit),
        kinds=(KeyKind.PRIVATE, KeyKind.PUBLIC),
        kind=form.text("kind", KeyKind.PRIVATE),
        name=form.text("name"),
        scopes=Scope,
        chosen=form.texts("scope") if problems else _FIRST_SCOPES,
        channels=channels if len(channels) <= _MOST_BOXES else None,
        limit=form.texts("channel"),
        typed=form.text("channels"),
        expires=form.text("expires") if problems else str(days),
        max_days=holder.max_key_days,
        problems=problems,
    )


async def _find_key(visit: Visit) -> Key:
    """Find the key that the path names; Refused (404) when it isn't the organization's."""

    def look() -> Key | None:
        with reading(visit.service.db) as connection:
            return keys.look_for_key(connection, clean_text(visit.named("key_id")))

    found = await anyio.to_thread.run_sync(look)
    if found is None or found.organization_id != visit.organization_id:
        raise not_found()
    return found


def read_choices(settings: Settings, db: Engine, organization: str) -> tuple[Organization, tuple[Channel, ...]]:
    """Read an organization, and its channels by slug."""
    holder = organizations.get_organization(db, organization)
    readable = organizations.list_readable_channels(db, holder.id)
    known = {each.id: each for each in channel_registry.list_channels(settings)}
    channels = [known.get(id_, Channel(id_, id_)) for id_ in readable]
    return holder, tuple(sorted(channels, key=lambda each: (each.slug, each.id)))


async def create_key(visit: Visit) -> Response:
    """Make a key, and show its secret in this answer alone."""
    service, form, key_id = visit.service, visit.form, _read_ticket(visit)
    if not form.text("name"):
        return await show_new_key(visit, [_("Give the key a name that says what it is for.")])
    channels = [*form.texts("channel"), *(word for word in _SEPARATORS.split(form.text("channels")) if word)]
    work = partial(
        channel_registry.create_key,
        service.db,
        service.settings,
        service.service_secret,
        visit.organization,
        form.texts("scope"),
        visit.now,
        channels=channels or None,
        kind=form.text("kind"),
        details=KeyDetails(form.text("name"), form.text("expires") or None, visit.actor, key_id),
    )
    try:
        new = await anyio.to_thread.run_sync(work)
    except SentBefore:
        raise _refuse_repeat() from None
    except UsageError as error:
        return await show_new_key(visit, str(error).splitlines())
    return pages.render(visit, "key_secret.html", new=new, is_rotated=False)


async def rename_key(visit: Visit) -> Response:
    """Give a key another name."""
    key = await _find_key(visit)
    return await _change_key(
        visit, lambda connection: keys.rename_key(connection, key.id, visit.form.text("name"), visit.actor, visit.now)
    )


async def rotate_key(visit: Visit) -> Response:
    """Make a second secret of a key, and show it in this answer alone."""
    key, given = await _find_key(visit), visit.form.text("grace")
    if not given.isdecimal() or len(given) >= 10:  # noqa: PLR2004 - no number of hours is longer
        return await show_key(visit, [_("The grace is a number of hours, such as 24.")])
    hours = int(given)

    def rotate(connection: Connection) -> NewKey:
        if visit.form.text("version") != str(to_milliseconds(keys.find_key(connection, key.id).rotated_at)):
            raise SentBefore(f"{key.id} was rotated since the form was shown.")
        return keys.rotate_key(connection, visit.service.service_secret, key.id, hours, visit.actor, visit.now)

    try:
        new = await _write(visit, rotate)
    except SentBefore:
        raise _refuse_repeat() from None
    except UsageError as error:
        return await show_key(visit, str(error).splitlines())
    return pages.render(visit, "key_secret.html", new=new, is_rotated=True, hours=hours)


async def cancel_rotation(visit: Visit) -> Response:
    """Take back a second secret that nobody has used."""
    key = await _find_key(visit)
    return await _change_key(visit, lambda connection: keys.cancel_rotation(connection, key.id, visit.actor, visit.now))


async def revoke_key(visit: Visit) -> Response:
    """End a key with its tokens."""
    key = await _find_key(visit)
    await anyio.to_thread.run_sync(keys.revoke_key, visit.service.db, key.id, visit.now, visit.actor)
    return pages.redirect(f"{pages.ROOT}/keys")


async def download_secret(visit: Visit) -> Response:
    """Give back the secret that a page shows as a file; it comes and goes in bodies alone."""
    key, secret = await _find_key(visit), visit.form.raw("secret")
    if not credentials.is_well_formed(credentials.KEY_SECRET, secret):
        raise Refused(400, N_("No secret"), N_("What was sent isn't the secret of a key."))
    text = _write_environment_file(visit.origin, key, secret)
    attached = {"Content-Disposition": f'attachment; filename="{key.id}.env"'}
    return PlainTextResponse(text, headers={**pages.HEADERS, **attached})


async def limit_key_life(visit: Visit) -> Response:
    """Set how long keys live at most; asks first when some would end by it."""

    def limit(connection: Connection) -> None:
        holder = organizations.find_organization(connection, visit.organization)
        organizations.limit_key_life(connection, holder, days, visit.actor, visit.now)

    try:
        days = parse_max_days(visit.form.text("days") or "none")
        found = await anyio.to_thread.run_sync(keys.list_keys, visit.service.db, visit.organization)
        ended = keys.find_too_old_keys(found, days, visit.now)
        if ended and not visit.form.has("confirmed"):
            return pages.render(visit, "key_age.html", days=days, keys=[key for key in found if key.id in ended])
        await _write(visit, limit)
    except UsageError as error:
        return await show_keys(visit, str(error).splitlines())
    return pages.redirect(f"{pages.ROOT}/keys")


async def _change_key(visit: Visit, work: Callable[[Connection], Key | None]) -> Response:
    try:
        await _write(visit, work)
    except UsageError as error:
        return await show_key(visit, str(error).splitlines())
    return pages.redirect(f"{pages.ROOT}/keys/{visit.named('key_id')}")


async def _write(visit: Visit, work: Callable[[Connection], T]) -> T:
    return await anyio.to_thread.run_sync(write, visit.service.db, work)


def _make_ticket(visit: Visit) -> str:
    """Sign the id of the key that a form for a new key will make."""
    secret, organization = visit.service.service_secret, str(visit.organization_id)
    return credentials.sign(secret, _TICKET, keys.draw_key_id().encode(), organization)


def _read_ticket(visit: Visit) -> str:
    """Read the id of the key that a form is to make; Refused when the form isn't ours."""
    secret, organization = visit.service.service_secret, str(visit.organization_id)
    payload = credentials.read_signed(secret, _TICKET, visit.form.text("ticket"), organization)
    if payload is None:
        raise Refused(403, N_("This form is too old"), N_("Go back, load the page anew, and send the form again."))
    return payload.decode()


def _refuse_repeat() -> Refused:
    sentence = N_(
        "This form was sent before. A secret is shown once: if it is lost, make another one on the key's page."
    )
    return Refused(409, N_("This was done already"), sentence)


def _write_environment_file(address: str, key: keys.Key, secret: str) -> str:
    lines = [f"REELPORT_URL={address}", f"REELPORT_API_KEY={key.id}", f"REELPORT_API_SECRET={secret}"]
    if key.kind is KeyKind.PUBLIC:
        lines += ["# A public key needs the sign-in of a user, too:", "# REELPORT_USERNAME=", "# REELPORT_PASSWORD="]
    return "\n".join(lines) + "\n"

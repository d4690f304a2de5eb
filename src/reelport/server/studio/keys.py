"""The pages and forms of an organization's keys: `/studio/keys`, and one key.

A secret is shown in the answer to a form, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from sqlalchemy import Engine
from starlette.responses import PlainTextResponse, Response

from reelport.catalog import Scope
from reelport.errors import UsageError
from reelport.language import N_, _
from reelport.server import credentials
from reelport.server.access import channel_registry, key_rotation, keys, organizations
from reelport.server.access.callers import clean_text
from reelport.server.access.channel_registry import Channel
from reelport.server.access.key_expiry import MOST_DAYS, KeyKind, parse_max_days
from reelport.server.access.keys import Key, KeyDetails, expires_soon, list_marks
from reelport.server.access.organizations import Organization
from reelport.server.settings import Settings
from reelport.server.state.database import reading, writing
from reelport.server.studio import pages
from reelport.server.studio.pages import write_page
from reelport.server.studio.visit import Refused, Visit, not_found
from reelport.wording import format_list

_MOST_BOXES = 100  # channels above which a key's limit is typed, not ticked
_FIRST_SCOPES = (Scope.CREATE_REPORTS, Scope.READ_REPORTS)  # switched on in the form for a new key
_DEFAULT_DAYS = 90
_INVALID = 422  # the status of a form that is shown again with its problems
_PATH = f"{pages.ROOT}/keys"
_SEPARATORS = re.compile(r"[\s,]+")


def show_keys(visit: Visit, problems: Sequence[str] = ()) -> Response:
    """Show the organization's keys, and the form for a new one as it was sent."""
    settings, db, form = visit.service.settings, visit.service.db, visit.form
    holder, channels = read_choices(settings, db, visit.organization)
    found = keys.list_keys(db, visit.organization)
    valid = [key for key in found if key.revoked_at is None]
    days = min(_DEFAULT_DAYS, holder.max_key_days or _DEFAULT_DAYS)
    return pages.render(
        visit,
        "keys.html",
        _INVALID if problems else 200,
        keys=valid,
        revoked=[key for key in found if key.revoked_at is not None],
        ending=[key for key in valid if expires_soon(key, visit.now)],
        marks={key.id: list_marks(key, visit.now) for key in found},
        kinds=(KeyKind.PRIVATE, KeyKind.PUBLIC),
        kind=form.text("kind", KeyKind.PRIVATE),
        name=form.text("name"),
        scopes=Scope,
        chosen=form.getlist("scope") if problems else _FIRST_SCOPES,
        channels=channels if len(channels) <= _MOST_BOXES else None,
        limit=form.getlist("channel"),
        typed=form.text("channels"),
        expires=form.text("expires") if problems else str(days),
        days=days,
        max_days=holder.max_key_days,
        most_days=MOST_DAYS,
        problems=problems,
    )


def show_key(visit: Visit) -> Response:
    """Show one key, and what may be done with it."""
    key = _find_key(visit)
    return pages.render(
        visit,
        "key.html",
        key=key,
        marks=list_marks(key, visit.now),
        channels=_name_channels(visit, key.channels),
        scopes=[scope for scope in Scope if scope.value in key.permissions],
        is_valid=key.revoked_at is None and not key.is_expired(visit.now),
        has_old_secret=key.old_secret_until is not None and visit.now < key.old_secret_until,
        grace=key_rotation.DEFAULT_GRACE_HOURS,
        most_grace=key_rotation.MOST_GRACE_HOURS,
    )


def _find_key(visit: Visit) -> Key:
    with reading(visit.service.db) as connection:
        found = keys.look_for_key(connection, clean_text(visit.named("key_id")))
    if found is None or found.organization_id != visit.organization_id:
        raise not_found()
    return found


def _name_channels(visit: Visit, channels: Iterable[str] | None) -> list[str] | None:
    """Name channels by their ids or slugs, as people do; None for all."""
    if channels is None:
        return None
    _holder, own = read_choices(visit.service.settings, visit.service.db, visit.organization)
    names = {name: each.name or each.slug for each in own for name in (each.slug, each.id)}
    return sorted({names.get(each, each) for each in channels})


def read_choices(settings: Settings, db: Engine, organization: str) -> tuple[Organization, tuple[Channel, ...]]:
    """Read an organization, and its channels by slug; by their ids if the facts can't be read."""
    holder = organizations.get_organization(db, organization)
    readable = organizations.list_readable_channels(db, holder.id)
    known = channel_registry.find_channels(settings) or {}
    channels = [known.get(id_, Channel(id_, id_)) for id_ in readable]
    return holder, tuple(sorted(channels, key=lambda each: (each.slug, each.id)))


def create_key(visit: Visit) -> Response | Awaitable[Response]:
    """Make a key, and show its secret in this answer alone."""
    service, form = visit.service, visit.form
    if not form.text("name"):
        return _show_problems(visit, [_("Give the key a name that says what it is for.")])
    channels = [*form.getlist("channel"), *(word for word in _SEPARATORS.split(form.text("channels")) if word)]
    # Before: the answer alone has the secret.
    said = {"name": form.text("name"), "channels": _name_channels(visit, channels or None)}
    try:
        new = keys.create_key(
            service.db,
            service.service_secret,
            visit.organization,
            form.getlist("scope"),
            visit.now,
            channels=channels or None,
            slugs=channel_registry.read_slugs(service.settings) if channels else None,
            kind=form.text("kind"),
            details=KeyDetails(form.text("name"), form.text("expires") or None, visit.actor),
        )
    except UsageError as error:
        return _show_problems(visit, str(error).splitlines())
    return pages.render(visit, "key_secret.html", 200, new=new, is_rotated=False, **said)


def _show_problems(visit: Visit, problems: Sequence[str]) -> Awaitable[Response]:
    return write_page(visit, visit.organization_id, partial(show_keys, visit, problems))


def rename_key(visit: Visit) -> Response:
    """Give a key another name."""
    return _change_key(visit, keys.rename_key, visit.form.text("name"))


def rotate_key(visit: Visit) -> Response:
    """Make a second secret of a key, and show it in this answer alone."""
    key, given = _find_key(visit), visit.form.text("grace")
    if not given.isdecimal() or len(given) >= 10:  # noqa: PLR2004 - no number of hours is longer
        raise UsageError(_("The grace is a number of hours, such as 24."))
    rotation = visit.service.service_secret, key.id, int(given), visit.actor, visit.now
    said = {"name": key.name, "channels": _name_channels(visit, key.channels)}
    with writing(visit.service.db) as connection:
        new = key_rotation.rotate_key(connection, *rotation)
    return pages.render(visit, "key_secret.html", 200, new=new, is_rotated=True, hours=int(given), **said)


def cancel_rotation(visit: Visit) -> Response:
    """Take back a second secret that nobody has used."""
    return _change_key(visit, key_rotation.cancel_rotation)


def revoke_key(visit: Visit) -> Response:
    """End a key with its tokens."""
    key = _find_key(visit)
    keys.revoke_key(visit.service.db, key.id, visit.now, visit.actor)
    return pages.redirect(_PATH)


def download_secret(visit: Visit) -> Response:
    """Give back the secret that a page shows as a file; it comes and goes in bodies alone."""
    key, secret = _find_key(visit), visit.form.get("secret", "")
    if not credentials.is_well_formed(credentials.KEY_SECRET, secret):
        raise Refused(400, N_("No secret"), N_("What was sent isn't the secret of a key."))
    lines = [f"REELPORT_URL={visit.origin}", f"REELPORT_API_KEY={key.id}", f"REELPORT_API_SECRET={secret}"]
    if key.kind is KeyKind.PUBLIC:
        lines += ["# A public key needs the sign-in of a user, too:", "# REELPORT_USERNAME=", "# REELPORT_PASSWORD="]
    attached = {"Content-Disposition": f'attachment; filename="{key.id}.env"'}
    return PlainTextResponse("\n".join(lines) + "\n", headers={**pages.HEADERS, **attached})


def limit_key_life(visit: Visit) -> Response:
    """Set how long keys live at most. Keys that would end by it must be meant to."""
    days = parse_max_days(visit.form.text("days") or "none")
    found = keys.list_keys(visit.service.db, visit.organization)
    ended = keys.find_too_old_keys(found, days, visit.now)
    if ended and "confirmed" not in visit.form:
        names = format_list([f"{key.name} ({key.id})" if key.name else key.id for key in found if key.id in ended])
        raise UsageError(
            _("These keys would end at once: %(names)s. Check the box beside the days to end them.", names=names)
        )
    with writing(visit.service.db) as connection:
        holder = organizations.find_organization(connection, visit.organization)
        organizations.limit_key_life(connection, holder, days, visit.actor, visit.now)
    return pages.redirect(_PATH)


def _change_key(visit: Visit, change: Callable[..., object], *given: str) -> Response:
    key = _find_key(visit)
    with writing(visit.service.db) as connection:
        change(connection, key.id, *given, visit.actor, visit.now)
    return pages.redirect(f"{_PATH}/{key.id}")

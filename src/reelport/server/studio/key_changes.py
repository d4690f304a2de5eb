"""The forms that change an organization's keys, and the longest life of all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio.to_thread
from sqlalchemy import Connection
from starlette.responses import PlainTextResponse, Response

from reelport.errors import UsageError
from reelport.server import credentials
from reelport.server.access import channel_registry, keys, organizations
from reelport.server.access.key_expiry import parse_max_days
from reelport.server.access.keys import Key, KeyDetails, NewKey, SentBefore
from reelport.server.state.database import write
from reelport.server.state.tables import to_milliseconds
from reelport.server.studio import key_forms, pages
from reelport.server.studio.keys import find_key, render_key, render_keys, render_new_key
from reelport.server.studio.refusals import Refused
from reelport.server.studio.visit import Visit

T = TypeVar("T")

_INVALID = 422
"""The status of a form that is shown again with its problems."""
_BETWEEN = re.compile(r"[\s,]+")


async def create_key(visit: Visit) -> Response:
    """Make a key, and show its secret in this answer alone."""
    service, form, key_id = visit.service, visit.form, key_forms.read_ticket(visit)
    if not form.text("name"):
        return await render_new_key(visit, _INVALID, ["Give the key a name that says what it is for."])
    channels = [*form.texts("channel"), *(word for word in _BETWEEN.split(form.text("channels")) if word)]
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
        raise key_forms.sent_before() from None
    except UsageError as error:
        return await render_new_key(visit, _INVALID, str(error).splitlines())
    return pages.render(visit, "key_secret.html", new=new, is_rotated=False)


async def rename_key(visit: Visit) -> Response:
    """Give a key another name."""
    key = await find_key(visit)
    return await _change_key(
        visit, lambda connection: keys.rename_key(connection, key.id, visit.form.text("name"), visit.actor, visit.now)
    )


async def rotate_key(visit: Visit) -> Response:
    """Make a second secret of a key, and show it in this answer alone."""
    key, hours = await find_key(visit), _read_hours(visit)
    if hours is None:
        return await render_key(visit, _INVALID, ["The grace is a number of hours, such as 24."])
    try:
        new = await _write(visit, partial(_rotate, visit=visit, key_id=key.id, hours=hours))
    except SentBefore:
        raise key_forms.sent_before() from None
    except UsageError as error:
        return await render_key(visit, _INVALID, str(error).splitlines())
    return pages.render(visit, "key_secret.html", new=new, is_rotated=True, hours=hours)


def _rotate(connection: Connection, visit: Visit, key_id: str, hours: int) -> NewKey:
    key = keys.find_key(connection, key_id)
    if visit.form.text("version") != str(to_milliseconds(key.rotated_at)):
        raise SentBefore(f"{key_id} was rotated since the form was shown.")
    return keys.rotate_key(connection, visit.service.service_secret, key_id, hours, visit.actor, visit.now)


async def cancel_rotation(visit: Visit) -> Response:
    """Take back a second secret that nobody has used."""
    key = await find_key(visit)
    return await _change_key(visit, lambda connection: keys.cancel_rotation(connection, key.id, visit.actor, visit.now))


async def revoke_key(visit: Visit) -> Response:
    """End a key with its tokens."""
    key = await find_key(visit)
    await anyio.to_thread.run_sync(keys.revoke_key, visit.service.db, key.id, visit.now, visit.actor)
    return pages.redirect(f"{pages.ROOT}/keys")


async def download_secret(visit: Visit) -> Response:
    """Give back the secret that a page shows as a file; it comes and goes in bodies alone."""
    key, secret = await find_key(visit), visit.form.raw("secret")
    if not credentials.is_well_formed(credentials.KEY_SECRET, secret):
        raise Refused(400, "No secret", "What was sent isn't the secret of a key.")
    text = key_forms.write_environment_file(visit.origin, key, secret)
    attached = {"Content-Disposition": f'attachment; filename="{key.id}.env"'}
    return PlainTextResponse(text, headers={**pages.HEADERS, **attached})


async def limit_key_life(visit: Visit) -> Response:
    """Set how long keys live at most; asks first when some would end by it."""
    try:
        days = parse_max_days(visit.form.text("days") or "none")
        found = await anyio.to_thread.run_sync(keys.list_keys, visit.service.db, visit.organization)
        ended = keys.find_too_old_keys(found, days, visit.now)
        if ended and not visit.form.has("confirmed"):
            return pages.render(visit, "key_age.html", days=days, keys=[key for key in found if key.id in ended])
        await _write(visit, partial(_limit_key_life, visit=visit, days=days))
    except UsageError as error:
        return await render_keys(visit, _INVALID, str(error).splitlines())
    return pages.redirect(f"{pages.ROOT}/keys")


def _limit_key_life(connection: Connection, visit: Visit, days: int | None) -> None:
    holder = organizations.find_organization(connection, visit.organization)
    organizations.limit_key_life(connection, holder, days, visit.actor, visit.now)


async def _change_key(visit: Visit, work: Callable[[Connection], Key | None]) -> Response:
    """Change a key and show its page, with what is wrong where it can't be changed."""
    try:
        await _write(visit, work)
    except UsageError as error:
        return await render_key(visit, _INVALID, str(error).splitlines())
    return pages.redirect(f"{pages.ROOT}/keys/{visit.request.path_params['key_id']}")


async def _write(visit: Visit, work: Callable[[Connection], T]) -> T:
    return await anyio.to_thread.run_sync(write, visit.service.db, work)


def _read_hours(visit: Visit) -> int | None:
    text = visit.form.text("grace")
    return int(text) if text.isdecimal() and len(text) < 10 else None  # noqa: PLR2004 - no number of hours is longer

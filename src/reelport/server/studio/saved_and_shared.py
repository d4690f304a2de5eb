"""Views that are kept by name: saved for the organization, or shared by a link.

`/studio/saved` lists the saved ones, `/studio/shared` those that a link opens, or an embed in pages of named hosts. A
link's token is 256 random bits; the state holds a keyed hash of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from html import escape
from typing import Any
from urllib.parse import parse_qsl

import anyio.to_thread
from sqlalchemy import ColumnElement, Connection, Engine, Row, Table, and_, func, or_, select
from starlette.responses import Response

from reelport.engine.tenant import Tenant
from reelport.errors import UsageError
from reelport.language import N_, _
from reelport.server import credentials
from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import clean_text, find_readable_channels, find_tenant
from reelport.server.access.roles import Reach, Role
from reelport.server.access.withdrawn_links import count_open_links
from reelport.server.credentials import ServiceSecret
from reelport.server.explore.view import Parameter, View
from reelport.server.explore.view_parameters import Defaults, ParsedView, parse_view
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import ORGANIZATIONS, SAVED_VIEWS, SHARED_VIEWS, USERS
from reelport.server.studio import exports, pages
from reelport.server.studio.explore import read_defaults
from reelport.server.studio.pages import write_page
from reelport.server.studio.rights import RIGHTS, Right
from reelport.server.studio.view_page import Page
from reelport.server.studio.visit import Refused, Visit, count_wrong_link, not_found
from reelport.wire import Code
from reelport.wording import clean_line

_SAVED_PATH = f"{pages.ROOT}/saved"
_OWN_FIELDS = frozenset({"csrf", "name", "days", "folder", "hosts"})
_LONGEST_NAME = 100
_MOST_SAVED = 500  # saved views of one organization
_MOST_PINNED = 8  # pinned ones of one organization
_NO_USER = N_("You are no user of this organization any more.")


Kept = Row[*tuple[Any, ...]]
"""A row of a kept view. Its `parameters` are those of a URL, without days where it moves on."""


def show_saved(visit: Visit) -> Response:
    """List the saved views by folder and name; those that are in none come first."""
    return pages.render(visit, "saved.html", shown=list(find_shown_views(visit, read_defaults(visit))))


def save(visit: Visit) -> Response:
    """Save the view of a form under its name. Its days move on where a range's name chose them."""
    view, name, folder = _read_view(visit), _clean_name(visit.form.text("name")), _read_folder(visit)
    with writing(visit.service.db) as connection:
        _lock_organization(connection, visit.organization_id)
        of_organization = SAVED_VIEWS.c.organization_id == visit.organization_id
        saved = select(func.count()).select_from(SAVED_VIEWS).where(of_organization)
        if connection.execute(saved).scalar_one() >= _MOST_SAVED:
            raise UsageError(_("%(most)s views are saved already: delete some that nobody needs.", most=_MOST_SAVED))
        row = {
            "id": credentials.short_id(),
            "organization_id": visit.organization_id,
            "name": name,
            "parameters": view.rolling_query(),
            "created_by": visit.user.email,
            "created_at": visit.now,
            "folder": folder,
        }
        connection.execute(SAVED_VIEWS.insert().values(**row))
        audit_log.record_action(connection, visit.organization_id, visit.actor, Action.VIEW_SAVED, name, visit.now)
    return pages.redirect(_SAVED_PATH)


def place_view(visit: Visit) -> Response:
    """Put a saved view into a folder, and on the overview or off it."""
    sentence = N_("You may place the views that you saved. An owner of your organization may place any.")
    folder, pinned = _read_folder(visit), "pinned" in visit.form
    with writing(visit.service.db) as connection:
        _lock_organization(connection, visit.organization_id)
        view = _find_own(connection, visit, SAVED_VIEWS, sentence)
        of_organization = SAVED_VIEWS.c.organization_id == visit.organization_id
        others = of_organization, SAVED_VIEWS.c.pinned_at.is_not(None), SAVED_VIEWS.c.id != view.id
        count = connection.execute(select(func.count()).select_from(SAVED_VIEWS).where(*others)).scalar_one()
        if pinned and count >= _MOST_PINNED:
            sentence = N_("%(most)s views are pinned already: take another one off the overview first.")
            raise UsageError(_(sentence, most=_MOST_PINNED))
        placed = SAVED_VIEWS.update().where(SAVED_VIEWS.c.id == view.id)
        connection.execute(placed.values(folder=folder, pinned_at=visit.now if pinned else None))
        given = visit.actor, Action.VIEW_PLACED, view.name, visit.now, {"folder": folder, "pinned": pinned}
        audit_log.record_action(connection, visit.organization_id, *given)
    return pages.redirect(_SAVED_PATH)


def delete_view(visit: Visit) -> Response:
    """Delete a saved view."""
    sentence = N_("You may delete the views that you saved. An owner of your organization may delete any.")
    with writing(visit.service.db) as connection:
        view = _find_own(connection, visit, SAVED_VIEWS, sentence)
        connection.execute(SAVED_VIEWS.delete().where(SAVED_VIEWS.c.id == view.id))
        given = visit.organization_id, visit.actor, Action.VIEW_DELETED, view.name, visit.now
        audit_log.record_action(connection, *given)
    return pages.redirect(_SAVED_PATH)


def find_shown_views(visit: Visit, defaults: Defaults) -> Iterator[tuple[Kept, ParsedView]]:
    """Find the saved views that a visitor may know of, by name, with what they show now.

    A view of earnings is shown to nobody without that scope. Reads the state: call it in a thread.
    """
    for saved in list_saved_views(visit.service.db, visit.organization_id):
        parsed = _parse(saved, defaults)
        is_missing = any(problem.code is Code.SCOPE_MISSING for problem in parsed.problems)
        if not is_missing and _may_know(visit, parsed.view, saved.created_by):
            yield saved, parsed


def _parse(kept: Kept, defaults: Defaults) -> ParsedView:
    return parse_view(parse_qsl(kept.parameters, keep_blank_values=True), defaults)


def _find_own(connection: Connection, visit: Visit, table: Table, sentence: str) -> Kept:
    """Find and lock the kept view of an address. Refused for one of others, with a sentence."""
    found = find_view(connection, table, visit.reach, visit.named("view_id"))
    if found is None:
        raise not_found()
    if not visit.may_change(found.created_by):
        raise Refused(403, N_("Not yours to do"), sentence)
    return found


def _read_view(visit: Visit) -> View:
    """Read the view of a form; Refused when something is wrong: no other is taken for it."""
    # A range by its name has the days that it has now, which may be others than when the form was shown.
    left_out = {*_OWN_FIELDS, *({Parameter.START, Parameter.END} if visit.form.text(Parameter.PRESET) else ())}
    pairs = [pair for pair in visit.form.multi_items() if pair[0] not in left_out]
    parsed = parse_view(pairs, read_defaults(visit))
    if parsed.problems:
        sentences = " ".join(problem.sentence for problem in parsed.problems)
        raise Refused(422, N_("This view can't be kept"), sentences)
    return parsed.view


def _may_know(visit: Visit, view: View, created_by: str) -> bool:
    """Whether a visitor may read what a kept view names.

    Somebody with some channels alone sees none of others that names a value: it may be a channel or a video of theirs.
    """
    names_value = view.kept or view.search or any(not row.choices for row, _ in view.filters)
    return visit.reach.channels is None or not names_value or created_by == visit.user.email


def list_saved_views(db: Engine, organization_id: int) -> Sequence[Kept]:
    """List an organization's saved views by name."""
    of_organization = SAVED_VIEWS.c.organization_id == organization_id
    wanted = select(SAVED_VIEWS).where(of_organization).order_by(SAVED_VIEWS.c.name, SAVED_VIEWS.c.id)
    with reading(db) as connection:
        return connection.execute(wanted).all()


def find_view(connection: Connection, table: Table, reach: Reach, view_id: str) -> Kept | None:
    """Find and lock a kept view by its id; None for an unknown one and for one out of reach."""
    own = table.c.organization_id == reach.organization_id, table.c.id == clean_text(view_id)
    found = connection.execute(select(table).where(*own).with_for_update()).first()
    is_reached = found is not None and (table is SAVED_VIEWS or reach.covers(json.loads(found.channels)))
    return found if is_reached else None


def _lock_organization(connection: Connection, organization_id: int) -> None:
    """Lock an organization: of two that keep views one sees what the other has kept."""
    locked = select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.id == organization_id).with_for_update()
    if connection.execute(locked).first() is None:
        raise UsageError(_NO_USER)


def _read_folder(visit: Visit) -> str:
    folder = visit.form.text("folder")
    return _clean_name(folder) if folder else ""


def _clean_name(name: str) -> str:
    cleaned = clean_line(clean_text(name)).strip()
    if not cleaned:
        raise UsageError(_("Give the view a name."))
    if len(cleaned) > _LONGEST_NAME:
        sentence = N_("The name has %(length)s characters: %(most)s are the most.")
        raise UsageError(_(sentence, length=len(cleaned), most=_LONGEST_NAME))
    return cleaned


_SHARED_PATH = f"{pages.ROOT}/shared"
_EMBED_PATH = f"{pages.ROOT}/embed"
LIVES, EMBED_LIVES = (1, 7, 30, 90), (30, 90, 365)  # the days that a link or an embed may live
_MOST_HOSTS = 10
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?::[0-9]{1,5})?")
MOST_LINKS = 200  # links of one organization that are open at a time
_PREFIX, _PURPOSE = "rpv", "shared view"
# How long a link that has expired stays in the list; the next one that is made takes it away.
_KEPT = timedelta(days=30)
_ENDED_KEPT = 200  # ended links of one organization that stay: made and revoked in turn, links would fill the disk
_SHARED = select(SHARED_VIEWS, ORGANIZATIONS.c.name.label("organization")).join(
    ORGANIZATIONS, ORGANIZATIONS.c.id == SHARED_VIEWS.c.organization_id
)


Opened = tuple[Kept, frozenset[str]]
"""A shared view that a link opens, and the channels (ids) whose numbers it may show."""


def _is_open(now: datetime) -> ColumnElement[bool]:
    return and_(SHARED_VIEWS.c.revoked_at.is_(None), SHARED_VIEWS.c.expires_at > now)


def show_links(visit: Visit, link: str | None = None, frame: str | None = None) -> Response:
    """List the organization's links, the newest first, and a new link or frame."""
    defaults = read_defaults(visit)
    found = list_shared_views(visit.service.db, visit.reach, visit.now)
    views = [(each, _parse(each, defaults).view) for each in found]
    links = [(each, view.sentence()) for each, view in views if _may_know(visit, view, each.created_by)]
    opened = Action.SHARED_VIEW_OPENED
    return pages.render(visit, "shared.html", opened=opened, links=links, link=link, frame=frame)


def share(visit: Visit) -> Awaitable[Response]:
    """Make a link to the view of a form, or an embed of it, and show it this once."""
    view = _read_view(visit)
    service, is_embed = visit.service, "hosts" in visit.form
    lives = {str(days): days for days in (*LIVES, *EMBED_LIVES)}.get(visit.form.text("days"), 0)
    name, hosts = visit.form.text("name"), parse_hosts(visit.form.text("hosts")) if is_embed else ()
    given = service.db, service.service_secret, visit.reach, visit.actor, name, view, lives, visit.now
    token = share_view(*given, hosts=hosts)
    shown = partial(show_links, visit, f"{visit.origin}{_SHARED_PATH}/{token}")
    address, title = escape(f"{visit.origin}{_EMBED_PATH}/{token}"), escape(name)
    size = 'width="100%" height="640" loading="lazy" referrerpolicy="no-referrer"'
    if is_embed:
        shown = partial(show_links, visit, frame=f'<iframe src="{address}" title="{title}" {size}></iframe>')
    return write_page(visit, visit.organization_id, shown)


def parse_hosts(text: str) -> tuple[str, ...]:
    """Parse the hosts whose pages may hold an embed, as origins.

    They are reached by HTTPS, but for this machine's own names. UsageError with every one that is no host.
    """
    words = re.split(r"[\s,]+", text.strip().lower())
    named = list(dict.fromkeys(word.removeprefix("https://").removesuffix("/") for word in words if word))
    if wrong := [word for word in named if not _HOST.fullmatch(word)]:
        names = ", ".join(word[:80] for word in wrong)
        raise UsageError(_("No host: %(names)s. Name hosts like www.example.com.", names=names))
    if not named or len(named) > _MOST_HOSTS:
        sentence = N_("Name the hosts whose pages may show it: 1 to %(most)s, such as www.example.com.")
        raise UsageError(_(sentence, most=_MOST_HOSTS))
    own = {"localhost", "127.0.0.1"}
    return tuple(f"{'http' if word.partition(':')[0] in own else 'https'}://{word}" for word in named)


def revoke_link(visit: Visit) -> Response:
    """End a link at once."""
    sentence = N_("You may revoke the links that you made. An owner of your organization may revoke any.")
    with writing(visit.service.db) as connection:
        link = _find_own(connection, visit, SHARED_VIEWS, sentence)
        if link.revoked_at is None:
            connection.execute(SHARED_VIEWS.update().where(SHARED_VIEWS.c.id == link.id).values(revoked_at=visit.now))
            given = visit.actor, Action.SHARED_VIEW_REVOKED, link.id, visit.now, {"name": link.name}
            audit_log.record_action(connection, visit.organization_id, *given)
    return pages.redirect(_SHARED_PATH)


async def open_link(visit: Visit) -> Response:
    """Show the view of a link to whoever has it."""
    exported = exports.Exports(f"{_SHARED_PATH}/{visit.named('token')}/export")
    return await _show_view(visit, await _open(visit, embedded=False), "shared_view.html", exported)


async def export_part(visit: Visit) -> Response:
    """Give a table of a link's view as a file to whoever has the link."""
    part, form = exports.read_choice(visit)
    if form not in exports.TABLE_FORMS:
        raise not_found()
    shared, tenant, whole, defaults = await _open(visit, embedded=False)
    view = exports.narrow_view(whole, part)
    numbers = await visit.service.explorer.compute(view, tenant, shared.organization_id)
    return _hide(await exports.answer_table(Page(view, numbers, defaults), form))


async def show_embed(visit: Visit) -> Response:
    """Show the view of an embed; browsers show it within pages of its hosts alone."""
    if visit.request.headers.get("sec-fetch-dest", "iframe") != "iframe":
        sentence = N_("This view is shown within a page of the hosts that it was made for.")
        raise Refused(403, N_("Within a page alone"), sentence)
    opened = await _open(visit, embedded=True)
    response = await _show_view(visit, opened, "embed.html", None)
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {opened[0].hosts}"
    )
    del response.headers["X-Frame-Options"]  # it knows no hosts
    return response


# A shared view as it is kept, for whom it is computed, what it shows, and by which defaults.
_Shared = tuple[Kept, Tenant, View, Defaults]


async def _open(visit: Visit, *, embedded: bool) -> _Shared:
    def open_view() -> _Shared:
        service, token = visit.service, visit.named("token")
        given = service.db, service.service_secret, token, visit.address, visit.now
        opened = open_shared_view(*given, embedded=embedded)
        if opened is None:
            if not embedded:  # else any page could have its visitors try, and use up what their address may
                count_wrong_link(visit)
            raise not_found()
        shared, channels = opened
        defaults = read_defaults(visit, scoped=False)
        parsed = _parse(shared, defaults)
        if parsed.problems:
            # Such as a metric that this version of the service doesn't know: other numbers must not be taken for it.
            sentence = N_("This service can't show this view any more. Ask whoever sent the link for another one.")
            raise Refused(410, N_("This view is gone"), sentence)
        return shared, Tenant(channels), parsed.view, defaults

    return await anyio.to_thread.run_sync(open_view)


def _hide(response: Response) -> Response:
    """Tell no other site of the address, and no search engine of what it shows."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


async def _show_view(visit: Visit, opened: _Shared, template: str, exported: exports.Exports | None) -> Response:
    shared, tenant, view, defaults = opened
    numbers = await visit.service.explorer.compute(view, tenant, shared.organization_id)

    def write() -> Response:
        return pages.render(visit, template, page=Page(view, numbers, defaults), shared=shared, exports=exported)

    return _hide(await write_page(visit, shared.organization_id, write))


def share_view(
    db: Engine,
    service_secret: ServiceSecret,
    reach: Reach,
    actor: Actor,
    name: str,
    view: View,
    days: int,
    now: datetime,
    *,
    hosts: Sequence[str] = (),
) -> str:
    """Share a view for so many days, and return the token of its link.

    With `hosts` it is an embed: its days move on where a range's name chose them, those of a link never.
    The token is known this once. UsageError for a bad name, another number of days, when too many links are open, and
    when the sharer was removed, or may share no more, since a moment ago.
    """
    cleaned = _clean_name(name)
    sentence = N_("An embed lives %(days)s days.") if hosts else N_("A link lives %(days)s days.")
    lives = EMBED_LIVES if hosts else LIVES
    if days not in lives:
        raise UsageError(_(sentence, days=", ".join(map(str, lives))))
    token, organization_id = credentials.mint(_PREFIX), reach.organization_id
    with writing(db) as connection:
        _lock_organization(connection, organization_id)
        # The user, too: a removal meanwhile would not see the new link.
        sharer = USERS.c.email == actor.name, USERS.c.organization_id == organization_id
        found = connection.execute(select(USERS.c.role, USERS.c.channels).where(*sharer).with_for_update()).first()
        if found is None:
            raise UsageError(_NO_USER)
        role = Role(found.role)
        if Right.SHARE_VIEWS not in RIGHTS[role]:
            raise UsageError(_("Your role doesn't allow sharing any more: ask an owner of your organization."))
        # Neither would a limit that was set since the form came.
        readable = find_tenant(connection, Reach.of(organization_id, role, found.channels)).channels
        _delete_ended(connection, organization_id, now)
        if count_open_links(connection, organization_id, now) >= MOST_LINKS:
            raise UsageError(_("%(most)s links are open already: revoke some that nobody needs.", most=MOST_LINKS))
        row = {
            "id": credentials.short_id(),
            "token_hash": service_secret.hash(_PURPOSE, token),
            "organization_id": organization_id,
            "name": cleaned,
            "parameters": view.rolling_query() if hosts else view.at_its_days().url_query(),
            "channels": json.dumps(sorted(reach.limit(readable))),
            "created_by": actor.name,
            "created_at": now,
            "expires_at": now + timedelta(days=days),
            "hosts": " ".join(hosts) or None,
        }
        connection.execute(SHARED_VIEWS.insert().values(**row))
        details, id_ = {"name": cleaned, "days": days, **({"hosts": hosts} if hosts else {})}, str(row["id"])
        audit_log.record_action(connection, organization_id, actor, Action.VIEW_SHARED, id_, now, details)
    return token


def open_shared_view(
    db: Engine, service_secret: ServiceSecret, token: str, address: str, now: datetime, *, embedded: bool = False
) -> Opened | None:
    """Find the view of a link, or that of an embed, and count that it was opened.

    None for a link that is unknown, revoked or expired. Every opening is counted; the audit log gets a row of the first
    one of each minute, with the count. The channels are those that the organization has read ever since it shared the
    view.
    """
    if not credentials.is_well_formed(_PREFIX, token):
        return None
    is_kind = SHARED_VIEWS.c.hosts.is_not(None) if embedded else SHARED_VIEWS.c.hosts.is_(None)
    is_named = SHARED_VIEWS.c.token_hash == service_secret.hash(_PURPOSE, token)
    wanted = _SHARED.where(is_named, is_kind, _is_open(now))
    with reading(db) as connection:
        if connection.execute(wanted).first() is None:  # whoever guesses has nothing written
            return None
    with writing(db) as connection:
        view = connection.execute(wanted.with_for_update(of=SHARED_VIEWS)).first()
        if view is None:
            return None  # revoked meanwhile
        counted = SHARED_VIEWS.update().where(SHARED_VIEWS.c.id == view.id)
        connection.execute(counted.values(opened=view.opened + 1, opened_at=now))
        minute = now.replace(second=0, microsecond=0)
        if view.opened_at is None or view.opened_at.replace(second=0, microsecond=0) != minute:
            details = {"name": view.name, "opened": view.opened + 1}
            actor, organization = Actor(audit_log.VISITOR, address), view.organization_id
            audit_log.record_action(connection, organization, actor, Action.SHARED_VIEW_OPENED, view.id, now, details)
        readable = find_readable_channels(connection, view.organization_id)
        return view, readable & frozenset(json.loads(view.channels))


def list_shared_views(db: Engine, reach: Reach, now: datetime) -> list[Kept]:
    """List the links within a reach, the newest first; ended ones for thirty more days.

    A row's `is_open` says whether its link still works.
    """
    of_organization = SHARED_VIEWS.c.organization_id == reach.organization_id, SHARED_VIEWS.c.expires_at > now - _KEPT
    wanted = select(SHARED_VIEWS, _is_open(now).label("is_open")).where(*of_organization)
    with reading(db) as connection:
        found = connection.execute(wanted.order_by(SHARED_VIEWS.c.created_at.desc(), SHARED_VIEWS.c.id)).all()
    return [row for row in found if reach.covers(json.loads(row.channels))]


def _delete_ended(connection: Connection, organization_id: int, now: datetime) -> None:
    links = SHARED_VIEWS.c
    has_ended = links.organization_id == organization_id, or_(links.revoked_at.is_not(None), links.expires_at <= now)
    by_age = select(links.id).where(*has_ended).order_by(links.created_at.desc(), links.id)
    is_over = or_(links.expires_at <= now - _KEPT, links.id.in_(by_age.offset(_ENDED_KEPT)))
    connection.execute(SHARED_VIEWS.delete().where(*has_ended, is_over))

"""Links to views for people without an account: `/studio/shared`, and what a link shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import anyio.to_thread
from starlette.responses import Response

from reelport.engine.tenant import Tenant
from reelport.errors import UsageError
from reelport.facts.log.freshness import read_freshness
from reelport.server.explore.options import list_options
from reelport.server.explore.view_parameters import Defaults, parse_view
from reelport.server.http.disconnection import run_while_connected
from reelport.server.studio import pages, saved_views, shared_views
from reelport.server.studio.pages import write_page
from reelport.server.studio.refusals import Refused, not_found
from reelport.server.studio.shared_views import LIVES, OpenedView, SharedView, Sharer
from reelport.server.studio.view_numbers import load_freshness, make_defaults
from reelport.server.studio.view_page import make_page
from reelport.server.studio.visit import Visit, count_wrong_link

PATH = f"{pages.ROOT}/shared"


@dataclass(frozen=True, slots=True)
class ListedLink:
    """A link as the page lists it: what it shows in words, and whether it still works."""

    shared: SharedView
    sentence: str
    is_open: bool
    may_change: bool


async def show_links(visit: Visit) -> Response:
    """List the organization's links, the newest first."""
    return await _show(visit)


async def share(visit: Visit) -> Response:
    """Make a link to the view of a form, and show it this once."""
    parsed = await saved_views.read_view(visit)
    days, service = visit.form.text("days"), visit.service
    sharer = Sharer(visit.organization_id, visit.actor)
    share = partial(shared_views.share_view, service.db, service.service_secret, sharer, visit.form.text("name"))
    try:
        lives = int(days) if days.isascii() and days.isdigit() and len(days) <= len(str(max(LIVES))) else 0
        token = await anyio.to_thread.run_sync(share, parsed.view, lives, visit.now)
    except UsageError as error:
        return await _show(visit, 422, problems=[str(error)])
    return await _show(visit, link=f"{visit.origin}{PATH}/{token}")


async def revoke_link(visit: Visit) -> Response:
    """End a link at once."""
    service, view_id = visit.service, visit.request.path_params["view_id"]
    find = partial(shared_views.find_shared_view, service.db, visit.organization_id, view_id)
    found = await anyio.to_thread.run_sync(find)
    if found is None:
        raise not_found()
    if not visit.may_change(found.created_by):
        sentence = "You may revoke the links that you made. An owner of your organization may revoke any."
        raise Refused(403, "Not yours to do", sentence)
    await anyio.to_thread.run_sync(partial(shared_views.revoke_shared_view, service.db, found, visit.actor, visit.now))
    return pages.redirect(PATH)


async def open_link(visit: Visit) -> Response:
    """Show the view of a link to whoever has it."""
    service, token = visit.service, visit.request.path_params["token"]
    find = partial(shared_views.open_shared_view, service.db, service.service_secret, token, visit.address, visit.now)
    opened = await anyio.to_thread.run_sync(find)
    if opened is None:
        count_wrong_link(visit)
        raise not_found()
    response = await _show_view(visit, opened)
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


async def _show_view(visit: Visit, opened: OpenedView) -> Response:
    freshness = await load_freshness(visit)
    defaults = make_defaults(visit, freshness)
    parsed = parse_view(opened.shared.parameters, defaults)
    if parsed.problems:
        # Such as a metric that this version of the service doesn't know: other numbers must not be taken for it.
        sentence = "This service can't show this view any more. Ask whoever sent the link for another one."
        raise Refused(410, "This view is gone", sentence)
    tenant, partner = Tenant(opened.channels), opened.shared.organization_id
    compute = partial(visit.service.explorer.compute, parsed.view, tenant, partner)
    numbers = await run_while_connected(visit.request, compute)

    def write() -> Response:
        page = make_page(parsed.view, numbers, defaults, freshness, list_options(parsed.view, defaults.rules))
        return pages.render(visit, "shared_view.html", page=page, shared=opened.shared)

    return await write_page(visit, partner, write)


async def _show(
    visit: Visit, status: int = 200, *, problems: list[str] | None = None, link: str | None = None
) -> Response:
    def write() -> Response:
        links = _list_links(visit)
        return pages.render(visit, "shared.html", status, links=links, problems=problems or [], link=link)

    return await write_page(visit, visit.organization_id, write)


def _list_links(visit: Visit) -> list[ListedLink]:
    defaults = make_defaults(visit, read_freshness(visit.service.settings.facts_root, visit.now.date()))
    found = shared_views.list_shared_views(visit.service.db, visit.organization_id, visit.now)
    return [_list_link(visit, each, defaults) for each in found]


def _list_link(visit: Visit, shared: SharedView, defaults: Defaults) -> ListedLink:
    sentence = parse_view(shared.parameters, defaults).view.sentence()
    return ListedLink(shared, sentence, shared.is_open(visit.now), visit.may_change(shared.created_by))

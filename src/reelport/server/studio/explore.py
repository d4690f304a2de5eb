"""The explorer: `/studio/explore` shows a view of the organization's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import anyio.to_thread
from sqlalchemy import Engine
from starlette.responses import Response

from reelport.catalog import Product
from reelport.catalog.labels import capitalize, label_dimension, label_filter, label_metric
from reelport.engine.tenant import Tenant
from reelport.facts.log.freshness import Freshness, read_freshness
from reelport.server.access.callers import find_readable_channels
from reelport.server.explore.explorer import Superseded
from reelport.server.explore.numbers import Numbers
from reelport.server.explore.options import list_options
from reelport.server.explore.presets import Preset
from reelport.server.explore.view import SEVERAL, Parameter, View
from reelport.server.explore.view_parameters import Defaults, ParsedView, parse_view
from reelport.server.http.disconnection import run_while_connected
from reelport.server.state.database import reading
from reelport.server.studio import pages
from reelport.server.studio.page_threads import write_page
from reelport.server.studio.refusals import Refused
from reelport.server.studio.view_defaults import make_defaults
from reelport.server.studio.view_page import make_page
from reelport.server.studio.visit import Visit
from reelport.wording import format_days

PATH = f"{pages.ROOT}/explore"
_TAB = "studio-tab"
"""The header by which the page's script names its tab: a newer view of a tab ends the one before."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The view of a URL, and what it was read with."""

    parsed: ParsedView
    defaults: Defaults
    freshness: Mapping[str, Freshness]
    has_channels: bool


async def show_explore(visit: Visit) -> Response:
    """Show the view of the URL; a URL that names no days leads to the one that does."""
    asked = await anyio.to_thread.run_sync(_read_url, visit)
    view = asked.parsed.view
    if asked.parsed.is_relative and not asked.parsed.problems:
        return pages.redirect(address_of(view))
    numbers = await compute_view(visit, view, visit.organization_id)
    return await write_page(visit, visit.organization_id, partial(_show, visit, asked, numbers))


def _read_url(visit: Visit) -> _Asked:
    freshness = read_freshness(visit.service.settings.facts_root, visit.now.date())
    defaults = make_defaults(visit, freshness)
    parsed = parse_view(visit.request.query_params.multi_items(), defaults)
    return _Asked(parsed, defaults, freshness, bool(_find_channels(visit.service.db, visit.organization_id)))


def _show(visit: Visit, asked: _Asked, numbers: Numbers) -> Response:
    """Write the page: in a thread, as the event loop should not wait so long."""
    view = asked.parsed.view
    options = list_options(view, asked.defaults.rules)
    return pages.render(
        visit,
        "explore.html",
        page=make_page(view, numbers, asked.defaults, asked.freshness, options),
        problems=[problem.sentence for problem in asked.parsed.problems],
        options=options,
        has_channels=asked.has_channels,
        address_of=address_of,
        several=" ".join(SEVERAL),
        presets=[_offer_preset(preset, view, asked.defaults) for preset in Preset],
        values=dict(view.filters),
        products=Product,
        words={
            "metric": lambda row: capitalize(label_metric(row)),
            "dimension": lambda row: capitalize(label_dimension(row)),
            "filter": lambda row: capitalize(label_filter(row)),
        },
    )


@dataclass(frozen=True, slots=True)
class _PresetLink:
    """A link to a range by name, with the days that it has now."""

    label: str
    days: str
    address: str
    is_current: bool


def _offer_preset(preset: Preset, view: View, defaults: Defaults) -> _PresetLink:
    days = preset.resolve(defaults.last_day(view.metrics))
    address = f"{address_of(view)}&{Parameter.PRESET}={preset.word}"
    return _PresetLink(preset.label, format_days(*days), address, days == (view.start, view.end))


async def compute_view(visit: Visit, view: View, organization_id: int) -> Numbers:
    """Compute a view of an organization's numbers, for as long as the browser waits for them."""
    tenant = Tenant(await visit.service.reads.run(_find_channels, organization_id))
    tab = visit.request.headers.get(_TAB)
    page = (visit.session.id, tab) if visit.session and tab else None
    compute = partial(visit.service.explorer.compute, view, tenant, organization_id, page)
    try:
        return await run_while_connected(visit.request, compute)
    except Superseded:
        raise Refused(409, "Another view was asked for", "This page shows a newer view by now.") from None


def address_of(view: View) -> str:
    """The address of the page of a view."""
    return f"{PATH}?{view.url_query()}"


def _find_channels(db: Engine, organization_id: int) -> frozenset[str]:
    with reading(db) as connection:
        return find_readable_channels(connection, organization_id)

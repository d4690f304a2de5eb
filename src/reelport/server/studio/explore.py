"""The explorer: `/studio/explore` shows a view of the organization's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import anyio.to_thread
from starlette.responses import Response

from reelport.catalog import Product
from reelport.catalog.labels import capitalize, label_dimension, label_filter, label_metric
from reelport.facts.log.freshness import Freshness, read_freshness
from reelport.server.explore.numbers import Numbers
from reelport.server.explore.options import list_options
from reelport.server.explore.view import SEVERAL, Preset, View
from reelport.server.explore.view_parameters import Defaults, ParsedView, parse_view
from reelport.server.studio import pages
from reelport.server.studio.filter_suggestions import Suggestion, suggest_values
from reelport.server.studio.pages import write_page
from reelport.server.studio.view_numbers import compute_view, find_channels, make_defaults
from reelport.server.studio.view_page import make_page
from reelport.server.studio.visit import Visit
from reelport.wording import format_days

PATH = f"{pages.ROOT}/explore"


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
    suggestions = await suggest_values(visit, view, numbers, asked.defaults)
    return await write_page(visit, visit.organization_id, partial(_show, visit, asked, numbers, suggestions))


def _read_url(visit: Visit) -> _Asked:
    freshness = read_freshness(visit.service.settings.facts_root, visit.now.date())
    defaults = make_defaults(visit, freshness)
    parsed = parse_view(visit.request.query_params.multi_items(), defaults)
    return _Asked(parsed, defaults, freshness, bool(find_channels(visit.service.db, visit.organization_id)))


def _show(visit: Visit, asked: _Asked, numbers: Numbers, suggestions: list[Suggestion]) -> Response:
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
        suggestions=suggestions,
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
    address = f"{PATH}?{replace(view, preset=preset).rolling_query()}"
    return _PresetLink(preset.label, format_days(*days), address, preset is view.preset)


def address_of(view: View) -> str:
    """The address of the page of a view."""
    return f"{PATH}?{view.url_query()}"

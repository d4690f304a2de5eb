"""The pages of single things, as `/studio/videos/ID`: views that are narrowed to one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import quote

import anyio.to_thread
from starlette.responses import Response

from reelport.catalog import Metric
from reelport.catalog.first_look import FIRST_METRICS, Subject
from reelport.charts.amounts import choose_unit
from reelport.language import _
from reelport.server.explore.numbers import Figure, FirstDays, Leaderboard, Numbers, OverBudget, Window
from reelport.server.explore.view import SEVERAL, Parameter, View, name_cell
from reelport.server.explore.view_parameters import (
    Defaults,
    ParsedView,
    list_grains,
    list_options,
    parse_view,
)
from reelport.server.http.service import run_while_connected
from reelport.server.studio import explore, pages
from reelport.server.studio.formats import MetricUnit, name_dimension
from reelport.server.studio.guard import Endpoint
from reelport.server.studio.pages import write_page
from reelport.server.studio.view_page import Cell, find_filter, keep_value, make_cell, make_page
from reelport.server.studio.visit import Visit, not_found

_FIELDS = frozenset({Parameter.START, Parameter.END, Parameter.COMPARISON, Parameter.GRAIN})


@dataclass(frozen=True, slots=True)
class WindowRow:
    """A window in words: per metric the number, the usual one, and how they differ."""

    label: str
    cells: tuple[tuple[Cell, str, str], ...]
    note: str


@dataclass(frozen=True, slots=True)
class _Page:
    """A thing's page: what it is narrowed to, and the addresses of views on it."""

    subject: Subject
    value: str

    @property
    def path(self) -> str:
        return f"{pages.ROOT}/{self.subject.path}/{quote(self.value, safe='')}"

    def narrow(self, view: View, defaults: Defaults) -> View:
        """Narrow a view to the thing: by the filter of its report where there is one.

        Refused (404) for a name that no view can be narrowed to: the page would show the numbers of all.
        """
        wide = self.widen(view)
        filter_ = find_filter(self.subject.dimension, list_options(wide, defaults.rules, defaults.scopes))
        narrowed = keep_value(wide, self.subject.dimension, filter_, self.value)
        if narrowed is None:
            raise not_found()
        return narrowed

    def widen(self, view: View) -> View:
        """The view without what the address says already."""
        return view.release(self.subject.dimension).without_picking()

    def address_of(self, view: View) -> str:
        return f"{self.path}?{self.widen(view).url_query()}"


def make_endpoint(subject: Subject) -> Endpoint:
    """Make the endpoint of the pages of a kind of thing."""

    async def show(visit: Visit) -> Response:
        return await _show(visit, _Page(subject, visit.named("value")))

    return show


async def _show(visit: Visit, page: _Page) -> Response:
    defaults = await anyio.to_thread.run_sync(explore.read_defaults, visit)
    defaults = replace(defaults, dimensions=page.subject.leaderboards)
    parsed = parse_view(visit.request.query_params.multi_items(), defaults)
    if parsed.is_relative and not parsed.problems:
        view = await explore.put_causes_first(visit, page.narrow(parsed.view, defaults))
        return pages.redirect(page.address_of(view))
    view = page.narrow(parsed.view, defaults)
    # Its own leaderboard has one row: its title.
    titled = replace(view, dimensions=tuple(dict.fromkeys((page.subject.dimension, *view.dimensions))))
    numbers = await explore.compute_view(visit, titled, visit.organization_id)
    first_days = await _compute_first_days(visit, page, defaults)
    write = partial(_write, visit, page, replace(parsed, view=view), defaults, numbers, first_days)
    return await write_page(visit, visit.organization_id, write)


async def _compute_first_days(visit: Visit, page: _Page, defaults: Defaults) -> FirstDays | OverBudget | None:
    complete = defaults.complete_days(FIRST_METRICS)
    if not page.subject.is_uploaded or complete is None:
        return None
    partner = visit.organization_id
    tenant, compute = await explore.find_visitor_tenant(visit), visit.service.explorer.compute_first_days
    work = partial(compute, page.value, page.subject.dimension, FIRST_METRICS, tenant, partner, complete)
    return await run_while_connected(visit.request, work)


def _write(
    visit: Visit,
    page: _Page,
    parsed: ParsedView,
    defaults: Defaults,
    numbers: Numbers,
    first_days: FirstDays | OverBudget | None,
) -> Response:
    view, dimension = parsed.view, page.subject.dimension
    own = numbers.leaderboards[dimension]
    entry = next(iter(own.entries), None) if isinstance(own, Leaderboard) else None
    shown = page.widen(view)
    made = make_page(view, numbers, defaults, list_options(view, defaults.rules, defaults.scopes))
    windows = tuple(_describe_windows(first_days)) if isinstance(first_days, FirstDays) else ()
    return pages.render(
        visit,
        "subject.html",
        # What the address narrows it to is no filter that could be removed.
        page=replace(made, filters=tuple(each for each in made.filters if each.view != shown)),
        subject=page.subject,
        kind=name_dimension(dimension),
        name=name_cell(dimension, page.value),
        value=page.value,
        title=entry and entry.title,
        has_picture=page.subject.is_uploaded and bool(visit.service.settings.picture_hosts),
        picture=entry and entry.picture,
        action=page.path,
        address_of=page.address_of,
        explored=explore.address_of(view),
        problems=[problem.sentence for problem in parsed.problems],
        presets=explore.list_presets(shown, defaults, page.path),
        grains=list_grains(view, defaults.rules),
        hidden=[pair for pair in shown.params() if pair[0] not in _FIELDS],
        shown=shown,
        several=" ".join(SEVERAL),
        first_days=first_days,
        windows=windows,
        columns=[_make_unit(metric, first_days).heading for metric in FIRST_METRICS],
        missing=_find_missing(first_days),
    )


def _find_missing(first_days: FirstDays | OverBudget | None) -> str | None:
    found = first_days.windows if isinstance(first_days, FirstDays) else first_days
    return found.sentence if isinstance(found, OverBudget) else None


def _make_unit(metric: Metric, first_days: FirstDays | OverBudget | None) -> MetricUnit:
    windows = first_days.windows if isinstance(first_days, FirstDays) else ()
    place = FIRST_METRICS.index(metric)
    found = () if isinstance(windows, OverBudget) else windows
    values = [numbers[place] or 0 for each in found for numbers in (each.own, each.usual) if numbers]
    divisor, unit = choose_unit(metric.unit, max(map(float, values), default=0.0))
    return MetricUnit(metric, divisor, unit)


def _describe_windows(first_days: FirstDays) -> list[WindowRow]:
    if isinstance(first_days.windows, OverBudget):
        return []
    units = [_make_unit(metric, first_days) for metric in FIRST_METRICS]
    rows: list[WindowRow] = []
    for each in first_days.windows:
        label = (
            _("First %(n)s hours", n=each.hours)
            if each.hours == _A_DAY
            else _("First %(n)s days", n=each.hours // _A_DAY)
        )
        nothing = (None,) * len(units)
        figures = [Figure(*pair) for pair in zip(each.own or nothing, each.usual or nothing, strict=True)]
        cells = tuple(
            (
                make_cell(unit, figure.value),
                unit.write(figure.before),
                unit.write_change(figure),
            )
            for unit, figure in zip(units, figures, strict=True)
        )
        if each.own is not None or rows:
            rows.append(WindowRow(label, cells, _explain_window(each)))
    return rows


_A_DAY = 24


def _explain_window(window: Window) -> str:
    if window.own is None:
        return _("The video is not as old yet, or its data are not complete.")
    if window.usual is None:
        return _("No other video of the channel is as old.")
    return _("Usual: the median of the channel's last %(n)s videos.", n=window.peers)

"""The overview, `/studio/overview`: what a channel manager asks first, without a form."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import anyio
import anyio.to_thread
from markupsafe import Markup
from starlette.responses import Response

from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import COUNTRIES, capitalize, label_metric
from reelport.catalog.studio_pages import OVERVIEW_BOARDS, OVERVIEW_CHANNEL, OVERVIEW_METRICS
from reelport.charts.drawing import draw_sparkline
from reelport.charts.time_axis import describe_time
from reelport.engine.tenant import Tenant
from reelport.errors import ReelportError
from reelport.facts.log.freshness import find_restated_days
from reelport.facts.log.log_entry import DataFile, Span
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import CHANNELS
from reelport.query import parse_day
from reelport.server.access import channel_registry, keys
from reelport.server.access.channel_registry import Channel
from reelport.server.access.keys import expires_soon
from reelport.server.explore.numbers import Numbers, OverBudget
from reelport.server.explore.view import View
from reelport.server.explore.view_days import EARLIEST, Comparison, Preset, default_grain
from reelport.server.explore.view_parameters import Defaults
from reelport.server.reports import report_list
from reelport.server.reports.report_list import StateFilter
from reelport.server.settings import Settings
from reelport.server.studio import explore, exports, pages
from reelport.server.studio.formats import choose_metric_unit
from reelport.server.studio.pages import write_page
from reelport.server.studio.rights import Right
from reelport.server.studio.saved_and_shared import Kept, find_shown_views
from reelport.server.studio.view_page import Board, Cell, Page, make_cell, make_change
from reelport.server.studio.visit import Visit
from reelport.wording import format_days, format_list

PATH = f"{pages.ROOT}/overview"
_LISTED = 10  # values of a list
_RANGES = {str(preset.days or preset.word): preset for preset in Preset}
_DEFAULT_RANGE = "28"
_MONTHS = 6  # months that are offered
_NEWS = timedelta(days=7)  # how long something is news
_MOST_REPORTS = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address asks for. `days` are typed ones, in place of a range."""

    range: str
    days: Span | None
    channel: str
    metric: Metric | None
    path: str

    @property
    def address(self) -> str:
        """The address of the page of this choice, without what is so by default."""
        typed = {"from": self.days[0], "to": self.days[1]} if self.days else {}
        named = {"range": "" if typed or self.range == _DEFAULT_RANGE else self.range, "channel": self.channel}
        metric = {"metric": self.metric.name if self.metric else ""}
        query = urlencode({name: value for name, value in {**typed, **named, **metric}.items() if value})
        return f"{self.path}?{query}" if query else self.path


@dataclass(frozen=True, slots=True)
class Asked:
    """What an overview shows, by which views; `channels` are those to choose from."""

    choice: Choice
    defaults: Defaults
    channels: tuple[Channel, ...]
    views: tuple[View, ...]


Wanted = tuple[View, Tenant, int]
"""A view to compute, for whom, and within which part (1 by this) of what one may read."""


async def show_overview(visit: Visit) -> Response:
    """Show the overview. What is wrong in the address counts for nothing."""
    asked, tenant, pins = await anyio.to_thread.run_sync(_read, visit)
    wanted = [(view, tenant, 1) for view in asked.views]
    # All that are pinned may together read as much as one.
    wanted += [(view, tenant, len(pins)) for _saved, _shown, view in pins]
    numbers = await compute_views(visit, wanted, visit.organization_id)

    def show() -> Response:
        # No card where the number costs too much.
        pinned = [(saved, shown, next(_make_cards(view, numbers[view]), None)) for saved, shown, view in pins]
        page, news = describe_page(visit, asked, numbers), _read_news(visit, asked.defaults)
        return pages.render(visit, "overview.html", news=news, pins=pinned, **page)

    return await write_page(visit, visit.organization_id, show)


# A pinned view, with what it shows, and the view of its number.
_Pins = tuple[tuple[Kept, View, View], ...]


def _read(visit: Visit) -> tuple[Asked, Tenant, _Pins]:
    defaults = explore.read_defaults(visit)
    tenant = explore.read_tenant(visit.service.db, visit.reach)
    channels = tuple(each for each in list_channels(visit.service.settings) if each.id in tenant.channels)
    pins = tuple(
        (saved, parsed.view, _make_pin_view(parsed.view, defaults))
        for saved, parsed in find_shown_views(visit, defaults)
        if saved.pinned_at and not parsed.problems
    )
    return read_asked(visit, defaults, PATH, channels), tenant, pins


def read_asked(visit: Visit, defaults: Defaults, path: str, channels: tuple[Channel, ...] = ()) -> Asked:
    """Read what the address of the overview at this path asks for."""
    given, groups = visit.request.query_params, _list_metrics(defaults)
    try:
        first, last = sorted(max(parse_day(given.get(name, "")), EARLIEST) for name in ("from", "to"))
    except ValueError:
        days = None
    else:
        days = (first, last)
    slug, name = given.get("channel", ""), given.get("range", "")
    metric = Metric.__members__.get(given.get("metric", ""))
    choice = Choice(
        name if name in _RANGES else _DEFAULT_RANGE,
        days,
        slug if any(each.slug == slug for each in channels) else "",
        metric if any(metric in group for group in groups) else None,
        path,
    )
    return Asked(choice, defaults, channels, tuple(_make_views(choice, defaults, groups)))


def _list_metrics(defaults: Defaults) -> tuple[tuple[Metric, ...], ...]:
    groups = (tuple(each for each in group if defaults.may_show(each)) for group in OVERVIEW_METRICS)
    return tuple(group for group in groups if group)


def list_channels(settings: Settings) -> tuple[Channel, ...]:
    """List every channel of the platform, by slug."""
    return _list_channels(settings, pin(settings.facts_root, [CHANNELS.name]).listing[CHANNELS.name])


# Once for these files, whose names no other table has.
@lru_cache(maxsize=1)
def _list_channels(settings: Settings, _files: tuple[DataFile, ...]) -> tuple[Channel, ...]:
    return channel_registry.list_channels(settings)


def _make_views(choice: Choice, defaults: Defaults, groups: Sequence[tuple[Metric, ...]]) -> Iterator[View]:
    filters = ((OVERVIEW_CHANNEL, choice.channel),) if choice.channel else ()
    known = {metrics: days for metrics in groups if (days := defaults.complete_days(metrics))}
    listed = next((metrics for metrics in known if choice.metric in metrics), next(iter(known), None))
    for metrics, (first, last) in known.items():
        preset = None if choice.days else _RANGES[choice.range]
        start, end = choice.days or _RANGES[choice.range].resolve(last, first)
        end = min(end, last)
        start = min(start, end)
        boards = OVERVIEW_BOARDS if metrics is listed else ()
        grain = default_grain((end - start).days + 1)
        # The map needs all countries, of which the list shows the first.
        longer = next((by for by in boards if by in COUNTRIES), None)
        view = View(metrics, boards, start, end, metrics[0], grain, filters, longer=longer, preset=preset)
        yield _compare(view, Comparison.WEEKDAYS if start == end else Comparison.PREVIOUS, defaults)


def _make_pin_view(view: View, defaults: Defaults) -> View:
    alone = replace(view, metrics=(view.ranked_by,), dimensions=(), longer=None, search="")
    return _compare(alone, Comparison.PREVIOUS if view.comparison is Comparison.NONE else view.comparison, defaults)


def _compare(view: View, comparison: Comparison, defaults: Defaults) -> View:
    """Compare a view, unless one of all these days isn't complete: no change is told then."""
    compared, complete = replace(view, comparison=comparison), defaults.complete_days(view.metrics)
    days = compared.compared_days
    is_known = complete is not None and days is not None and complete[0] <= days[0] and view.end <= complete[1]
    return compared if is_known else replace(view, comparison=Comparison.NONE)


async def compute_views(visit: Visit, wanted: Iterable[Wanted], partner: Hashable) -> Mapping[View, Numbers]:
    """Compute views at the same time in the partner's slots."""
    found: dict[View, Numbers] = {}
    failures: list[ReelportError] = []

    async def compute(view: View, tenant: Tenant, share: int) -> None:
        try:
            found[view] = await visit.service.explorer.compute(view, tenant, partner, share=share)
        except ReelportError as error:  # kept, since the task group would raise it within a group
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for each in wanted:
            tasks.start_soon(compute, *each)
    if failures:
        raise failures[0]
    return found


def _read_news(visit: Visit, defaults: Defaults) -> dict[str, Any]:
    service, now = visit.service, visit.now
    alike: dict[tuple[date, str], list[Metric]] = {}
    for metrics in _list_metrics(defaults):
        for each in defaults.find_freshness(metrics):
            if each.complete is not None:
                snapshot = pin(service.settings.facts_root, [each.table])
                spans = find_restated_days(snapshot, each.table, now - _NEWS)
                restated = format_list([format_days(*span) for span in spans])
                alike.setdefault((each.complete, restated), []).extend(metrics)
    page = report_list.list_reports(service.db, visit.reach, now, shown=StateFilter.FINISHED)
    ready = [each for each in page.reports if each.ended_at is not None and each.ended_at >= now - _NEWS]
    held = keys.list_keys(service.db, visit.organization) if visit.may(Right.MANAGE_KEYS) else ()
    return {
        "tables": [
            (capitalize(format_list([label_metric(metric) for metric in metrics])), *said)
            for said, metrics in alike.items()
        ],
        "reports": ready[:_MOST_REPORTS],
        "expiring": [each for each in held if expires_soon(each, now)],
    }


Card = tuple[Metric, str, Cell, Cell | None, Markup]
"""A number of the overview: its metric, label and value, how it changed, and a small line of its days."""


def describe_page(visit: Visit, asked: Asked, numbers: Mapping[View, Numbers]) -> dict[str, Any]:
    """Describe what every overview shows, as values of its template; call it in a thread."""
    choice = asked.choice
    metrics = asked.views[0].metrics if asked.views else ()
    ranges = [
        (
            preset.short_label,
            format_days(*asked.defaults.resolve(preset, metrics)),
            replace(choice, range=name, days=None).address,
            choice.days is None and choice.range == name,
        )
        for name, preset in _RANGES.items()
    ]
    months = [
        (describe_time(f"{days[0]:%Y-%m}"), replace(choice, days=days).address, choice.days == days)
        for days in _list_months(asked)
    ]
    described = {"choice": choice, "channels": asked.channels, "view": None}
    described |= {"ranges": ranges, "months": months}
    if asked.views:
        described |= _describe_numbers(visit, asked, [numbers[view] for view in asked.views])
    return described


def _list_months(asked: Asked) -> Iterator[Span]:
    found = [asked.defaults.complete_days(metrics) for metrics in _list_metrics(asked.defaults)]
    earliest, last = next(filter(None, found), (date.max, date.max))
    for _place in range(_MONTHS):
        if last < earliest:
            return
        first = last.replace(day=1)
        yield first, last
        last = first - timedelta(1)


def _describe_numbers(visit: Visit, asked: Asked, numbers: Sequence[Numbers]) -> dict[str, Any]:
    choice, defaults = asked.choice, asked.defaults
    views = [replace(view, longer=None) for view in asked.views]
    main = views[0]
    charted, found = next(
        ((view, each) for view, each in zip(views, numbers, strict=True) if choice.metric in view.metrics),
        (main, numbers[0]),
    )
    metric = choice.metric if choice.metric in charted.metrics else charted.metrics[0]
    cards = [
        # Its last day is said where it isn't the page's.
        (card, replace(choice, metric=card[0]).address, metric is card[0], view.end if view.end != main.end else None)
        for view, each in zip(views, numbers, strict=True)
        for card in _make_cards(view, each)
    ]
    page = Page(charted, found, defaults)
    return {
        "view": main,
        "days": format_days(main.start, main.end),
        "compared": format_days(*main.compared_days) if main.compared_days else None,
        "has_changes": charted.compared_days is not None,
        "explore": explore.address_of(charted),
        "causes": explore.address_of(replace(charted, ranked_by=metric, shares=None)),
        "address_of": explore.address_of if visit.may(Right.READ_NUMBERS) else None,
        "cards": cards,
        "chart": page.draw_line(metric) if page.lines else None,
        "chart_exports": exports.offer_exports(visit, charted, "export-chart"),
        "list_exports": exports.offer_exports(visit, charted, "export-lists"),
        "lists": [_make_list(page, by) for by in charted.dimensions],
        "second": 1 - len(charted.metrics),  # the place of the second metric's column, from the end; 0 without one
        "over_budget": next((each.over_budget for each in numbers if each.over_budget), None),
    }


def _make_cards(view: View, numbers: Numbers) -> Iterator[Card]:
    if isinstance(numbers.totals, OverBudget):
        return
    points = () if isinstance(numbers.lines, OverBudget) else numbers.lines
    for place, (metric, figure) in enumerate(zip(view.metrics, numbers.totals, strict=True)):
        written = choose_metric_unit(metric, [figure.value])
        spark = Markup(draw_sparkline([point.figures[place].value for point in points]))  # noqa: S704 - drawn from numbers
        number = replace(make_cell(written, figure.value), text=written.write_short(figure.value))
        change = None if figure.difference is None else make_change(written, figure)
        yield metric, written.heading, number, change, spark


def _make_list(page: Page, by: Dimension) -> tuple[Board, str, Markup | None]:
    board = page.make_board(by)
    address = explore.address_of(replace(page.view, dimensions=(by,), longer=by))
    # The map is drawn of many countries, of which a few are listed.
    return replace(board, rows=board.rows[:_LISTED]), address, page.draw_map(by)

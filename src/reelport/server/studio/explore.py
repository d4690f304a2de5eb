"""Pages of views: the explorer, and those of single things, as `/studio/videos/ID`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio.to_thread
from markupsafe import Markup
from sqlalchemy import Engine
from starlette.responses import Response

from reelport import similar_names
from reelport.catalog import Dimension, Family, Filter, Metric, Product
from reelport.catalog.labels import (
    DIMENSION_GROUPS,
    capitalize,
    fold,
    label_dimension,
    label_family,
    label_filter,
    label_metric,
)
from reelport.catalog.studio_pages import FIRST_DIMENSIONS, FIRST_METRICS, Subject
from reelport.charts.report_chart import list_query_notes, tell_apart
from reelport.engine.tenant import Tenant
from reelport.facts.log.freshness import read_freshness
from reelport.language import N_, _
from reelport.server.access.callers import find_tenant
from reelport.server.access.roles import Reach
from reelport.server.explore.numbers import Figure, FirstDays, Leaderboard, Lines, Numbers, OverBudget, Window
from reelport.server.explore.view import SEVERAL, Parameter, Sort, View, name_cell
from reelport.server.explore.view_days import Comparison, Preset
from reelport.server.explore.view_parameters import (
    Defaults,
    Option,
    can_pick,
    list_grains,
    list_options,
    parse_view,
)
from reelport.server.reports.ask import make_rules
from reelport.server.state.database import reading
from reelport.server.studio import exports, pages, view_page
from reelport.server.studio.formats import choose_metric_unit, name_dimension, name_metric
from reelport.server.studio.guard import Endpoint
from reelport.server.studio.pages import write_page
from reelport.server.studio.view_page import Cell, Page, Parts, keep_value, make_cell
from reelport.server.studio.visit import Refused, Visit, not_found
from reelport.wording import format_days, format_list

if TYPE_CHECKING:
    from reelport.engine.duckdb.engine import Session
    from reelport.server.explore.view_engine import ViewEngine

PATH = f"{pages.ROOT}/explore"
# What the page's form sends without showing it.
_HIDDEN = frozenset(
    {
        *(Parameter.PRESET, Parameter.SORT, Parameter.REVERSE),
        *(Parameter.LONGER, Parameter.KEPT, Parameter.SHARES, Parameter.EMPTY),
        *(row.name for row in Filter if not row.choices),
    }
)
_MOST_SHARES = 5  # cells whose shares are drawn, beside those of all others together
_MOST_SUGGESTED = 3  # values that are named where none is like the text


async def show_explore(visit: Visit) -> Response:
    """Show the view of the URL; a URL that names no days leads to the one that does."""
    defaults = await anyio.to_thread.run_sync(read_defaults, visit)
    parsed = parse_view(visit.request.query_params.multi_items(), defaults)
    asked = parsed.view
    if parsed.is_relative and not parsed.problems:
        return pages.redirect(address_of(await put_causes_first(visit, asked)))
    page = Page(asked, await compute_view(visit, asked), defaults)
    suggestions = await _suggest_values(visit, page)
    shares = await _compute_shares(visit, page)
    near = await _suggest_search(visit, page)
    has_channels = bool((await find_visitor_tenant(visit)).channels)

    def write() -> Response:
        view, rules = asked.without_picking(), defaults.rules
        options, shown = list_options(view, rules), {row.family for row in Metric if defaults.may_show(row)}
        return pages.render(
            visit,
            "explore.html",
            page=replace(page, view=view, parts=shares),
            metric_names=format_list([label_metric(metric) for metric in view.metrics]),
            board_names=format_list([label_dimension(dimension) for dimension in view.dimensions]),
            problems=[problem.sentence for problem in parsed.problems],
            metrics=[
                _group(label_family(family), [options[row] for row in Metric if row.family is family])
                for family in Family
                if family in shown
            ],
            dimensions=[_group(_(label), [options[row] for row in rows]) for label, rows in DIMENSION_GROUPS.items()],
            filters=[options[row] for row in Filter if row.choices],
            has_channels=has_channels,
            address_of=address_of,
            exports=exports.offer_exports(visit, view),
            suggestions=suggestions,
            picker=page.make_picker(near),
            several=" ".join(SEVERAL),
            grains=list_grains(view, rules),
            ranges=list(_list_ranges(view, defaults, PATH)),
            hidden=[
                (Parameter.RANKED_BY, view.ranked_by.name),
                *(pair for pair in view.params() if pair[0] in _HIDDEN),
            ],
            values=dict(view.filters),
            products=Product,
            name_metric=name_metric,
            name_dimension=name_dimension,
            name_cell=name_cell,
        )

    return await write_page(visit, visit.organization_id, write)


async def put_causes_first(visit: Visit, view: View) -> View:
    """Turn the view of one day where its number fell: what fell most comes first."""
    if Parameter.DAY not in visit.request.query_params:
        return view
    totals = (await compute_view(visit, replace(view, dimensions=(), longer=None))).totals
    place = view.metrics.index(view.ranked_by)
    fell = not isinstance(totals, OverBudget) and (totals[place].difference or 0) < 0
    return replace(view, reverse=fell)


async def export_part(visit: Visit) -> Response:
    """Give a part of the view of the URL as a file, or lead to the form that asks for it.

    A table has the rows that the page shows, in their order, with exact numbers.
    """
    part, form = exports.read_choice(visit)
    pairs = [pair for pair in visit.request.query_params.multi_items() if pair[0] != exports.CHOICE]
    defaults = await anyio.to_thread.run_sync(read_defaults, visit)
    parsed = parse_view(pairs, defaults)
    view = parsed.view
    if form in exports.PROGRAMS:
        return pages.redirect(exports.write_report_address(view, part, form))
    if parsed.problems:  # a file can't say that it holds other numbers than were asked for
        heading = N_("There is no table") if form in exports.TABLE_FORMS else N_("There is no chart")
        raise Refused(422, heading, " ".join(problem.sentence for problem in parsed.problems))
    narrowed = exports.narrow_view(view, part)
    if form not in exports.TABLE_FORMS:
        return await _answer_line(visit, narrowed, form, defaults)
    return await exports.answer_table(Page(narrowed, await compute_view(visit, narrowed), defaults), form)


async def _answer_line(visit: Visit, view: View, kind: str, defaults: Defaults) -> Response:
    view_page.require_kind(kind)
    if view.dimensions or len(view.metrics) > 1:
        raise not_found()
    numbers = await compute_view(visit, view)
    if isinstance(numbers.lines, OverBudget):
        raise Refused(409, N_("There is no chart"), numbers.lines.sentence)
    chart = Page(view, numbers, defaults).line_charts[view.metrics[0]]
    query = view.query((view.time,))
    notes = (*list_query_notes(query, [(dimension.name, cell) for dimension, cell in view.kept]), *chart.notes)
    return await view_page.answer_chart(replace(chart, notes=notes), kind, query)


async def _compute_shares(visit: Visit, page: Page) -> Parts | OverBudget:
    view, parts = page.view, list[tuple[str, Lines]]()
    if view.shares is None or not page.may_share(view.shares):
        return parts
    board = page.numbers.leaderboards[view.shares]
    entries = [each for each in board.entries if each.is_shown] if isinstance(board, Leaderboard) else []
    cells = {each.cell or "": each.title or name_cell(view.shares, each.cell) for each in entries[:_MOST_SHARES]}
    plain = replace(view.without_picking(), comparison=Comparison.NONE, sort=Sort.VALUE)
    alone = replace(plain, metrics=(view.ranked_by,), dimensions=(), longer=None, shares=None)
    for cell, name in tell_apart(cells).items():
        lines = (await compute_view(visit, alone.keep(view.shares, [cell]))).lines
        if isinstance(lines, OverBudget):
            return lines
        parts.append((name, lines))
    return parts


# Choices below one heading: those that fit; the others by the sentence that says why.
_Group = tuple[str, list[Option], dict[str, list[Option]]]


def _group(label: str, offered: Iterable[Option]) -> _Group:
    fitting: list[Option] = []
    refused: dict[str, list[Option]] = {}
    for each in offered:
        (fitting if each.reason is None else refused.setdefault(each.reason, [])).append(each)
    return capitalize(label), fitting, refused


Range = tuple[str, str, str, bool]
"""A range that a page offers: its name, its days, the address that chooses it, and whether it is chosen."""


def _list_ranges(view: View, defaults: Defaults, path: str) -> Iterator[Range]:
    for preset in Preset:
        address = f"{path}?{replace(view, preset=preset).rolling_query()}"
        yield preset.short_label, format_days(*defaults.resolve(preset, view.metrics)), address, preset is view.preset


def address_of(view: View) -> Markup:
    """The address of the page of a view, for attributes of HTML, too.

    Everything else in it is quoted, and no parameter's name is one of an entity: its ampersands stay as they are. A
    page has some sixty addresses with six each.
    """
    return Markup(f"{PATH}?{view.url_query()}")  # noqa: S704 - quoted for a URL


async def _suggest_values(visit: Visit, page: Page) -> list[tuple[str, str, bool, dict[str, View]]]:
    """Suggest values of these days and other filters, for a view that has no numbers.

    Of each filter whose text matches nothing: its name, the text, whether the values are like that, and the views that
    have another value in its place.
    """
    view, found = page.view, list[tuple[str, str, bool, dict[str, View]]]()
    if isinstance(page.numbers.lines, OverBudget) or page.has_numbers:
        return found
    for row, text in view.filters:
        if text and not row.choices and (values := await _list_values(visit, page, row.dimension)):
            near = _find_near(row.dimension, text, values)
            shown = [near] if near else list(values)[:_MOST_SUGGESTED]
            views = {
                value: replace(view, filters=tuple((each, value if each is row else it) for each, it in view.filters))
                for value in shown
            }
            found.append((label_filter(row), text, near is not None, views))
    return found


async def _suggest_search(visit: Visit, page: Page) -> str | None:
    view, board = page.view, page.numbers.picked
    if view.picked is None or not view.search or not isinstance(board, Leaderboard) or board.entries:
        return None
    values = await _list_values(visit, page, view.picked)
    near = _find_near(view.picked, view.search, values)
    return near and (values[near] or name_cell(view.picked, near))


async def _list_values(visit: Visit, page: Page, dimension: Dimension) -> dict[str, str | None]:
    listed = replace(page.view, dimensions=(), picked=dimension, search="")
    if not can_pick(listed, page.defaults):
        return {}
    board = (await compute_view(visit, listed)).picked
    entries = board.entries if isinstance(board, Leaderboard) else ()
    return {entry.cell: entry.title for entry in entries if entry.cell}


def _find_near(dimension: Dimension, text: str, values: Mapping[str, str | None]) -> str | None:
    names: dict[str, str] = {}
    for value, title in values.items():
        label = title or name_cell(dimension, value)
        for name in (value, label, *label.split()):
            names.setdefault(fold(name), value)
    written = fold(text)
    near = written if written in names else similar_names.nearest(written, names)
    return names[near] if near else None


async def compute_view(visit: Visit, view: View) -> Numbers:
    """Compute a view of what the visitor may see."""
    return await visit.service.explorer.compute(view, await find_visitor_tenant(visit), visit.organization_id)


async def find_visitor_tenant(visit: Visit) -> Tenant:
    """Find the channels and metrics whose numbers the visitor may see now."""
    return await visit.service.read(read_tenant, visit.reach)


def read_tenant(db: Engine, reach: Reach) -> Tenant:
    """Read which channels and metrics the engine may read for a person now."""
    with reading(db) as connection:
        return find_tenant(connection, reach)


def read_defaults(visit: Visit, *, scoped: bool = True) -> Defaults:
    """Read the defaults of a view now, with the scopes of the visitor; of a shared link all."""
    settings, today = visit.service.settings, visit.now.date()
    fresh = read_freshness(settings.facts_root, today)
    scopes = visit.reach.scopes if scoped else None
    return Defaults(FIRST_METRICS, FIRST_DIMENSIONS, fresh, today, make_rules(settings), scopes)


_FIELDS = frozenset({Parameter.START, Parameter.END, Parameter.COMPARISON, Parameter.GRAIN})


@dataclass(frozen=True, slots=True)
class _SubjectPage:
    """The page of a single thing: its views are narrowed to one value."""

    subject: Subject
    value: str

    @property
    def path(self) -> str:
        return f"{pages.ROOT}/{self.subject.path}/{quote(self.value, safe='')}"

    def narrow(self, view: View) -> View:
        """Narrow a view to the thing: by the filter of its report where there is one.

        Refused (404) for a name that no view can be narrowed to: the page would show the numbers of all.
        """
        narrowed = keep_value(self.widen(view), self.subject.dimension, self.value)
        if narrowed is None:
            raise not_found()
        return narrowed

    def widen(self, view: View) -> View:
        """The view without what the address says already."""
        return view.release(self.subject.dimension).without_picking()

    def address_of(self, view: View) -> Markup:
        return Markup(f"{self.path}?{self.widen(view).url_query()}")  # noqa: S704 - quoted for a URL


def make_subject_endpoint(subject: Subject) -> Endpoint:
    """Make the endpoint of the pages of a kind of thing."""

    async def show(visit: Visit) -> Response:
        return await _show_subject(visit, _SubjectPage(subject, visit.named("value")))

    return show


async def _show_subject(visit: Visit, page: _SubjectPage) -> Response:
    dimension = page.subject.dimension
    defaults = await anyio.to_thread.run_sync(read_defaults, visit)
    defaults = replace(defaults, dimensions=page.subject.leaderboards)
    parsed = parse_view(visit.request.query_params.multi_items(), defaults)
    view = page.narrow(parsed.view)
    if parsed.is_relative and not parsed.problems:
        return pages.redirect(page.address_of(await put_causes_first(visit, view)))
    # Its own leaderboard has one row: its title.
    titled = replace(view, dimensions=tuple(dict.fromkeys((dimension, *view.dimensions))))
    numbers = await compute_view(visit, titled)
    first_days = await _compute_first_days(visit, page, defaults)

    def write() -> Response:
        own = numbers.leaderboards[dimension]
        entry = next(iter(own.entries), None) if isinstance(own, Leaderboard) else None
        shown = page.widen(view)
        return pages.render(
            visit,
            "subject.html",
            page=Page(view, numbers, defaults, fixed=dimension),
            kind=name_dimension(dimension),
            name=name_cell(dimension, page.value),
            value=page.value,
            title=entry and entry.title,
            has_picture=page.subject.is_uploaded and bool(visit.service.settings.picture_hosts),
            picture=entry and entry.picture,
            action=page.path,
            address_of=page.address_of,
            explored=address_of(view),
            problems=[problem.sentence for problem in parsed.problems],
            ranges=list(_list_ranges(shown, defaults, page.path)),
            grains=list_grains(view, defaults.rules),
            hidden=[pair for pair in shown.params() if pair[0] not in _FIELDS],
            shown=shown,
            several=" ".join(SEVERAL),
            first_days=first_days and _describe_first_days(first_days),
        )

    return await write_page(visit, visit.organization_id, write)


async def _compute_first_days(visit: Visit, page: _SubjectPage, defaults: Defaults) -> FirstDays | OverBudget | None:
    complete = defaults.complete_days(FIRST_METRICS)
    if not page.subject.is_uploaded or complete is None:
        return None
    given = page.value, page.subject.dimension, FIRST_METRICS, await find_visitor_tenant(visit), complete

    def compute(engine: ViewEngine, session: Session) -> FirstDays | OverBudget | None:
        return engine.compute_first_days(session, *given)

    return await visit.service.explorer.run(visit.organization_id, compute)


def _describe_first_days(found: FirstDays | OverBudget) -> dict[str, Any]:
    """Describe a video's first days: its columns and windows, or why it has none.

    Of each window there are its name, a note, and per metric the number, the usual one and how they differ.
    """
    if isinstance(found, OverBudget):
        return {"missing": found.sentence}
    units = []
    for place, metric in enumerate(FIRST_METRICS):
        values = [numbers[place] for each in found.windows for numbers in (each.own, each.usual) if numbers]
        units.append(choose_metric_unit(metric, values))
    nothing = (None,) * len(units)
    windows: list[tuple[str, str, list[tuple[Cell, str, str]]]] = []
    for each in found.windows:
        is_day, days = each.hours == _A_DAY, each.hours // _A_DAY
        label = _("First %(n)s hours", n=each.hours) if is_day else _("First %(n)s days", n=days)
        figures = [Figure(*pair) for pair in zip(each.own or nothing, each.usual or nothing, strict=True)]
        cells = [
            (make_cell(unit, figure.value), unit.write(figure.before), unit.write_change(figure))
            for unit, figure in zip(units, figures, strict=True)
        ]
        if each.own is not None or windows:
            windows.append((label, _explain_window(each), cells))
    return {"missing": None, "born": found.born, "columns": [unit.heading for unit in units], "windows": windows}


_A_DAY = 24


def _explain_window(window: Window) -> str:
    if window.own is None:
        return _("The video is not as old yet, or its data are not complete.")
    if window.usual is None:
        return _("No other video of the channel is as old.")
    return _("Usual: the median of the channel's last %(n)s videos.", n=window.peers)

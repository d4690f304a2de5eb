"""The page of a view, as values for its template: numbers as people read them, and charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import anyio.to_thread
from markupsafe import Markup
from starlette.responses import Response

from reelport.catalog import Dimension, Filter, Metric
from reelport.catalog.first_look import SUBJECTS
from reelport.catalog.labels import COUNTRIES, capitalize, label_dimension, label_filter
from reelport.charts.chart_types import Bar, Chart, LineChart, Series, StackedShares, WorldMap
from reelport.charts.drawing import draw_file, draw_inline_bar, embed_chart, explain_absence, render_png
from reelport.charts.time_axis import GRAIN_WORDS, count_settled, describe_partial, describe_time, format_time
from reelport.language import N_, _, ngettext
from reelport.query import ReportQuery, name_file
from reelport.server.explore.numbers import Entry, Figure, Leaderboard, Lines, Number, Numbers, OverBudget, Totals
from reelport.server.explore.view import Comparison, Parameter, Sort, View, name_cell
from reelport.server.explore.view_parameters import LONGEST, Defaults
from reelport.server.http.downloads import format_attachment
from reelport.server.studio import pages
from reelport.server.studio.formats import (
    NO_NUMBER,
    Drawn,
    MetricUnit,
    choose_metric_unit,
    format_moment,
    format_whole,
    name_dimension,
    name_metric,
    write_share,
)
from reelport.server.studio.visit import not_found
from reelport.wording import format_day, format_days, format_list

Parts = Sequence[tuple[str, Lines]]  # lines of some cells, by name
LinePicture = tuple[str, str, Markup]  # the chart of a metric over time: the metric's name, a heading, its picture
DaySpan = tuple[date, date] | None  # the first and the last complete day of a metric's tables; None where there is none
_TABLE_LABELS = {name: name for name in (N_("plays"), N_("ads"), N_("earnings"), N_("usage"), N_("videos"))}
# What the compared days are called.
COMPARISONS = {
    Comparison.PREVIOUS: N_("Days before"),
    Comparison.WEEKDAYS: N_("Same weekdays before"),
    Comparison.YEAR: N_("A year before"),
}


def make_page(view: View, numbers: Numbers, defaults: Defaults) -> dict[str, Any]:
    """Make what the templates show of a view and its numbers, in words and pictures.

    `is_moving` says that some of its days may still move, and `unknown` which of the compared days have no complete
    data: there is no change then.
    """
    lines = () if isinstance(numbers.lines, OverBudget) else numbers.lines
    units, unknown = choose_units(view, numbers), find_unknown_days(view, defaults)
    drawn = {
        metric: make_line_chart(view, lines, place, defaults.complete_days([metric]))
        for place, metric in enumerate(view.metrics)
    }
    last = defaults.complete_day(view.metrics)
    can_change = unknown is None
    before = (_(COMPARISONS[view.comparison]),) if view.compares_lines else ()
    boards = (
        make_board(view, each, numbers.leaderboards[each], units, can_change=can_change) for each in view.dimensions
    )
    return {
        "view": view,
        "sentence": view.sentence(),
        "compared": format_days(*view.compared_days) if view.compared_days else None,
        "totals": list(_make_totals(view, units, numbers.totals, can_change=can_change)),
        "charts": [draw_line(chart, units[each]) for each, chart in drawn.items()] if has_numbers(lines) else [],
        "columns": [each for metric in view.metrics for each in (units[metric].heading, *before)],
        "times": list(_make_times(view, drawn, units, last)),
        "boards": list(boards),
        "filters": list(_list_filters(view)),
        "freshness": describe_freshness(view.metrics, defaults),
        "is_moving": last is None or view.end > last,
        "unknown": unknown,
        "over_budget": numbers.over_budget,
    }


def find_unknown_days(view: View, defaults: Defaults) -> str | None:
    """Say which of the compared days lie before the first complete one; None where none does."""
    first = defaults.first_day(view.metrics)
    if view.compared_days is None or view.compared_days[0] >= first:
        return None
    return format_days(view.compared_days[0], min(view.compared_days[1], first - timedelta(1)))


def describe_freshness(metrics: Iterable[Metric], defaults: Defaults) -> str:
    """Say to which day the tables of these metrics are complete, and when they were loaded."""
    alike: dict[tuple[date | None, datetime | None], list[str]] = {}
    for each in defaults.find_freshness(metrics):
        alike.setdefault((each.complete, each.loaded), []).append(_(_TABLE_LABELS[each.table]))
    return " ".join(_describe_tables(capitalize(format_list(names)), *times) for times, names in alike.items())


def _describe_tables(tables: str, complete: date | None, loaded: datetime | None) -> str:
    if loaded is None:
        return _("%(tables)s: nothing was loaded yet.", tables=tables)
    moment = format_moment(loaded)
    if complete is None:
        return _("%(tables)s have no complete day yet (loaded %(moment)s).", tables=tables, moment=moment)
    day = format_day(complete)
    return _("%(tables)s are complete to %(day)s (loaded %(moment)s).", tables=tables, day=day, moment=moment)


def _make_totals(
    view: View, units: Mapping[Metric, MetricUnit], totals: Totals | OverBudget, *, can_change: bool
) -> Iterator[tuple[str, str, str, Cell, str | None]]:
    if isinstance(totals, OverBudget):
        return
    for metric, figure in zip(view.metrics, totals, strict=True):
        metric_unit = units[metric]
        label, unit = name_metric(metric), metric_unit.unit
        said = "" if figure.value is None or unit.lower() in label.lower() else unit
        change = metric_unit.write_change(figure) if can_change else NO_NUMBER
        shown = None if view.comparison is Comparison.NONE else change
        number = replace(make_cell(metric_unit, figure.value), text=metric_unit.write_short(figure.value))
        yield label, said, _(metric.sentence), number, shown


def draw_line(chart: LineChart, metric_unit: MetricUnit) -> LinePicture:
    """Draw the chart of a metric over time for a page."""
    picture = Markup(embed_chart(chart, metric_unit.write_amount))  # noqa: S704 - its texts are escaped
    return metric_unit.metric.name, chart.heading, picture


def _make_times(
    view: View, drawn: Mapping[Metric, LineChart], units: Mapping[Metric, MetricUnit], complete: date | None
) -> Iterator[tuple[str, str, list[Cell], bool]]:
    columns = [(units[metric], line) for metric, chart in drawn.items() for line in chart.lines]
    times = next(iter(drawn.values())).times
    settled = count_settled(times, view.grain, complete, view.end)
    for place, time in enumerate(times):
        yield (
            time,
            describe_time(time),
            [make_cell(unit, line.values[place]) for unit, line in columns],
            place >= settled,
        )


def has_numbers(lines: Lines) -> bool:
    """Whether any time on the lines has a number, or had one before."""
    return any(figure != Figure(None) for point in lines for figure in point.figures)


def make_cell(metric_unit: MetricUnit, value: Drawn) -> Cell:
    """Write a number for people, and as the report's file has it."""
    return Cell(metric_unit.write(value), "" if value is None else str(value))


def make_change(metric_unit: MetricUnit, figure: Figure, *, in_full: bool = False) -> Cell:
    """Write how much a number changed, and what it was before."""
    written = metric_unit.write_change(figure, in_full=in_full)
    new = f"{written} ({_('new')})" if in_full else _("new")
    text = new if figure.before == 0 and figure.value else written
    before = "" if figure.before is None else _("before: %(number)s", number=figure.before)
    # By the sign that is shown: what rounds to 0.0% went neither up nor down.
    return Cell(text, before, written.startswith("+") - written.startswith("\N{MINUS SIGN}"))


def _list_filters(view: View) -> Iterator[tuple[str, str, View]]:
    for filter_, value in view.filters:
        rest = tuple(pair for pair in view.filters if pair[0] is not filter_)
        label = capitalize(label_filter(filter_))
        yield label, name_cell(filter_.dimension, value), replace(view, filters=rest)
    for dimension, cell in view.kept:
        others = tuple(pair for pair in view.kept if pair != (dimension, cell))
        yield name_dimension(dimension), name_cell(dimension, cell), replace(view, kept=others)


def make_line_chart(view: View, lines: Lines, place: int, complete: DaySpan) -> LineChart:
    """Make the chart of the metric at this place of the view.

    `complete` are the complete days of the metric's tables: what comes later may still change. Within them a time
    without facts is 0 where the metric adds up; elsewhere it is a gap.
    """
    metric, grain = view.metrics[place], view.grain
    days = [point.day for point in lines]
    times, name = tuple(format_time(day, grain) for day in days), name_metric(metric)
    chart = LineChart(
        _("%(metrics)s by %(dimensions)s", metrics=name, dimensions=_(GRAIN_WORDS[grain])),
        times,
        (Series(name, _fill(metric, days, [point.figures[place].value for point in lines], complete)),),
        metric.unit,
        grain,
        count_settled(times, grain, complete and complete[1], view.end),
        describe_partial(times, grain, view.start, view.end),
    )
    if not view.compares_lines:
        return chart
    days = [view.compared_time(day) for day in days]
    befores = _fill(metric, days, [point.figures[place].before for point in lines], complete)
    line = Series(_(COMPARISONS[view.comparison]), befores)
    return replace(chart, comparison=line, comparison_times=tuple(format_time(day, grain) for day in days))


def _fill(metric: Metric, days: list[date], values: list[Number], complete: DaySpan) -> tuple[Number, ...]:
    dates = [day.date() if isinstance(day, datetime) else day for day in days]
    return tuple(
        0 if value is None and metric.additive and complete and complete[0] <= day <= complete[1] else value
        for day, value in zip(dates, values, strict=True)
    )


# Characters of a value that a view may be narrowed to.
_LONGEST = LONGEST - max(len(f"{dimension.name}:") for dimension in Dimension)
_UNSENT = frozenset("\0\r\n")


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a column: the view that sorts by it, and how it is sorted now (aria-sort)."""

    name: str
    label: str
    view: View
    order: str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of a row: its text, and in full as the report has it.

    Of a change `full` is what was before, and `direction` 1, 0 or -1.
    """

    text: str
    full: str
    direction: int = 0


@dataclass(frozen=True, slots=True)
class BoardRow:
    """A row of a leaderboard, and the view that it filters to, unless that is the view already.

    `value` is its cell as in a report, `cell` the same in words.
    `page` is the address of the page of what it names; None where that has none. `picture` is the address of its
    picture, as it was loaded.
    """

    value: str
    cell: str
    title: str | None
    view: View | None
    bar: Markup
    cells: tuple[Cell, ...]
    is_gone: bool
    page: str | None
    picture: str | None


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard as a table, or why it isn't there.

    `notes` are sentences below it, `picture` is a map above it, `shares` are its largest parts over time, and
    `other_shares` is the view with them or without, `other_rows` the one with more rows, or with fewer of those that
    are many.
    """

    dimension: Dimension
    label: str
    headings: tuple[Heading, ...]
    rows: tuple[BoardRow, ...]
    notes: tuple[str, ...]
    other_rows: View | None = None
    is_long: bool = False
    over_budget: OverBudget | None = None
    picture: Markup | None = None
    shares: Markup | None = None
    other_shares: View | None = None


def make_board(
    view: View,
    dimension: Dimension,
    board: Leaderboard | OverBudget,
    units: Mapping[Metric, MetricUnit],
    *,
    can_change: bool = True,
) -> Board:
    """Make the table of a leaderboard; without `can_change`, no change is told."""
    label = name_dimension(dimension)
    if isinstance(board, OverBudget):
        return Board(dimension, label, (), (), (), over_budget=board)
    place = view.metrics.index(view.ranked_by)
    amounts = [float(entry.figures[place].value or 0) for entry in board.entries]
    largest = max(amounts, default=0.0)
    rows = tuple(
        BoardRow(
            entry.cell or "",
            name_cell(dimension, entry.cell),
            entry.title,
            keep_value(view, dimension, entry.cell),
            Markup(draw_inline_bar(amount, largest)),  # noqa: S704 - drawn from two numbers
            tuple(_make_cells(view, units, entry, can_change=can_change)),
            not entry.is_shown,
            write_page_address(view, dimension, entry.cell or ""),
            entry.picture,
        )
        for entry, amount in zip(board.entries, amounts, strict=True)
    )
    is_long, has_more = view.longer is dimension, board.rows > len(board.entries)
    other_rows = replace(view, longer=None if is_long else dimension) if is_long or has_more else None
    notes = tuple(_write_notes(view, board, units[view.ranked_by]))
    headings = tuple(_make_headings(view, units))
    # A map of a few of all countries would show the others as if nobody had watched there.
    is_part = has_more and not is_long
    picture = None if is_part else draw_map(board, place, units[view.ranked_by])
    return Board(dimension, label, headings, rows, notes, other_rows, is_long, picture=picture)


def make_picker(view: View, numbers: Numbers, near: str | None) -> dict[str, Any] | None:
    """Make the list of values of a dimension to choose from; None where the view picks none.

    `values` are what a search found, and what is chosen: of each what the form sends, its name, title and number, and
    whether it is chosen. The form sends `fields` beside them. `note` says of how many these are the first, or why there
    is none. `near` is a text that is like one that found nothing, with the view that searches for it.
    """
    dimension, board = view.picked, numbers.picked
    if dimension is None or board is None:
        return None
    released = view.without_picking().release(dimension)
    picker = {
        "dimension": dimension,
        "values": [],
        "fields": released.params(),
        "search": view.search,
        "near": (near, replace(view, search=near)) if near else None,
    }
    if isinstance(board, OverBudget):
        return {**picker, "note": board.sentence}
    chosen = dict.fromkeys(view.kept_by_dimension().get(dimension, ()))
    chosen |= dict.fromkeys(text for row, text in view.filters if row.dimension is dimension)
    unit, place = choose_units(view, numbers)[view.ranked_by], view.metrics.index(view.ranked_by)
    found = {
        entry.cell or "": (entry.title, unit.write_amount(entry.figures[place].value))
        for entry in board.entries
        if keep_value(released, dimension, entry.cell)
    }
    values = [
        (f"{dimension.name}:{cell}", name_cell(dimension, cell), *found.get(cell, (None, "")), cell in chosen)
        for cell in {**chosen, **found}
    ]
    note, shown = "", format_whole(len(board.entries))
    if not board.entries:
        note = _("No value or title has this text.") if view.search else _("There are no numbers in these days.")
    elif len(board.entries) < board.rows:
        note = ngettext("%(shown)s of %(n)s value.", "%(shown)s of %(n)s values.", board.rows, shown=shown)
    return {**picker, "values": values, "note": note}


def draw_map(board: Leaderboard, place: int, metric_unit: MetricUnit) -> Markup | None:
    """Draw a leaderboard of countries as a map, by one metric; None for other dimensions."""
    shown = [entry for entry in board.entries if entry.is_shown]
    if board.dimension not in COUNTRIES or not shown:
        return None
    countries = tuple(
        Bar(name_cell(board.dimension, entry.cell), entry.figures[place].value, entry.cell or "") for entry in shown
    )
    name, by = name_metric(metric_unit.metric), label_dimension(board.dimension)
    chart = WorldMap(
        _("%(metrics)s by %(dimensions)s", metrics=name, dimensions=by), countries, metric_unit.metric.unit
    )
    return Markup(embed_chart(chart, metric_unit.write_amount))  # noqa: S704 - its texts are escaped


def draw_shares(view: View, lines: Lines, parts: Parts, complete: DaySpan) -> Markup | None:
    """Draw the shares that some cells have over time; None where one is below 0."""
    place, heading = view.metrics.index(view.ranked_by), name_metric(view.ranked_by)
    chart = make_line_chart(replace(view, comparison=Comparison.NONE), lines, place, complete)
    values = [(name, [point.figures[0].value or 0 for point in part]) for name, part in parts]
    wholes = [point.figures[place].value or 0 for point in lines]
    rest = [whole - sum(each) for whole, *each in zip(wholes, *(numbers for _name, numbers in values), strict=True)]
    values += [(_("All others"), rest)] if any(rest) else []
    if any(number < 0 for _name, numbers in values for number in numbers):
        return None
    series = tuple(Series(name, tuple(numbers)) for name, numbers in values)
    shares = StackedShares(heading, chart.times, series, chart.unit, chart.grain, chart.settled, chart.notes)
    return Markup(embed_chart(shares))  # noqa: S704 - its texts are escaped


def keep_value(view: View, dimension: Dimension, cell: str | None) -> View | None:
    """Narrow a view to a cell's value.

    It does so by the filter of its report, or in the view alone where no filter takes the value. None where the view
    has it already, or no address can hold it, or no form sends it as it is: browsers write every line break as CRLF.
    """
    fitting = frozenset(Filter).intersection(*(metric.family.filters for metric in view.metrics))
    filter_ = next((row for row in Filter if row.dimension is dimension and row in fitting), None)
    value = (cell or "").upper() if filter_ and filter_.choices else cell or ""
    if len(value) > _LONGEST or not _UNSENT.isdisjoint(value):
        return None
    if filter_ is None or (filter_.choices and value not in filter_.choices):
        narrowed = view.keep(dimension, [cell or ""])
    else:
        filters = {**dict(view.filters), filter_: value}
        narrowed = replace(view, filters=tuple((row, filters[row]) for row in Filter if row in filters))
    return None if narrowed == view else narrowed


def write_page_address(view: View, dimension: Dimension, cell: str) -> str | None:
    """Write the address of a cell's own page, with the view's days; None where it has none."""
    subject = next((each for each in SUBJECTS if each.dimension is dimension), None)
    # Such names would be parts of the path, however they are written.
    if subject is None or cell in {"", ".", ".."} or "/" in cell:
        return None
    kept = {Parameter.START, Parameter.END, Parameter.COMPARISON}
    query = urlencode([pair for pair in view.params() if pair[0] in kept])
    return f"{pages.ROOT}/{subject.path}/{quote(cell, safe='')}?{query}"


def _make_cells(view: View, units: Mapping[Metric, MetricUnit], entry: Entry, *, can_change: bool) -> Iterator[Cell]:
    for metric, figure, share in zip(view.metrics, entry.figures, entry.shares, strict=True):
        yield make_cell(units[metric], figure.value)
        if metric is view.ranked_by:
            yield Cell(write_share(share), "")
            if view.comparison is not Comparison.NONE:
                in_full = view.sort is Sort.CHANGE  # the column is sorted by the amount
                yield make_change(units[metric], figure, in_full=in_full) if can_change else Cell(NO_NUMBER, "")


def _make_headings(view: View, units: Mapping[Metric, MetricUnit]) -> Iterator[Heading]:
    """Make the headings of the columns, in the order of `_make_cells`."""
    for metric in view.metrics:
        labels = {Sort.VALUE: units[metric].heading}
        if metric is view.ranked_by:
            labels[Sort.SHARE] = _("Share of total")
            if view.comparison is not Comparison.NONE:
                labels[Sort.CHANGE] = _("Changed by")
        for sort, label in labels.items():
            is_sorted = view.ranked_by is metric and view.sort is sort
            order = ("ascending" if view.reverse else "descending") if is_sorted else None
            sorted_view = replace(view, ranked_by=metric, sort=sort, reverse=is_sorted and not view.reverse)
            yield Heading(f"{metric.name}-{sort.value}", label, sorted_view, order)


def _write_notes(view: View, board: Leaderboard, metric_unit: MetricUnit) -> Iterator[str]:
    shown = sum(entry.is_shown for entry in board.entries)
    place = view.metrics.index(view.ranked_by)
    rest = board.rest[place]
    if board.rows <= shown:
        yield ngettext("%(n)s value in all.", "%(n)s values in all.", board.rows)
    elif rest is None:
        yield ngettext("%(shown)s of %(n)s value.", "%(shown)s of %(n)s values.", board.rows, shown=format_whole(shown))
    else:
        yield ngettext(
            "%(shown)s of %(n)s value; the others come to %(rest)s.",
            "%(shown)s of %(n)s values; the others come to %(rest)s.",
            board.rows,
            shown=format_whole(shown),
            rest=metric_unit.write_amount(rest),
        )
    if view.comparison is not Comparison.NONE and not board.compared:
        yield _("The compared days have no numbers: there is no change to show.")
    if view.ranked_by in board.reasons:
        yield _(board.reasons[view.ranked_by])


_MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}


def list_kinds() -> tuple[str, ...]:
    """List the kinds of files that a chart is offered as."""
    return tuple(_MEDIA_TYPES) if explain_absence() is None else ("svg",)


def require_kind(kind: str) -> None:
    """Refuse (404) a kind of file that isn't offered here."""
    if kind not in list_kinds():
        raise not_found()


async def answer_chart(chart: Chart, kind: str, query: ReportQuery) -> Response:
    """Answer with a chart as a file of this kind, named for the query whose numbers it shows."""
    draw = (lambda: draw_file(chart).encode()) if kind == "svg" else (lambda: render_png(chart))
    content = await anyio.to_thread.run_sync(draw)
    disposition = format_attachment(name_file(query, kind), f"chart.{kind}")
    headers = {**pages.HEADERS, "Content-Type": _MEDIA_TYPES[kind], "Content-Disposition": disposition}
    return Response(content, headers=headers)


def choose_units(view: View, numbers: Numbers) -> dict[Metric, MetricUnit]:
    """Choose the unit of each metric of a view: that of its chart, by its largest number."""
    match numbers.lines, numbers.totals:
        case tuple(points), _:
            rows = [point.figures for point in points]
        case _, tuple(totals):  # where there is no chart
            rows = [totals]
        case _:
            rows = []
    units = {}
    for place, metric in enumerate(view.metrics):
        figures = [row[place] for row in rows]
        befores = [figure.before for figure in figures] if view.compares_lines else []
        units[metric] = choose_metric_unit(metric, [*(figure.value for figure in figures), *befores])
    return units

"""The page of a view, as values for its template: numbers as people read them, and charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

import anyio.to_thread
from markupsafe import Markup
from starlette.responses import Response

from reelport.catalog import Dimension, Filter, Metric
from reelport.catalog.labels import COUNTRIES, capitalize, label_dimension, label_filter
from reelport.catalog.studio_pages import SUBJECTS
from reelport.charts.chart_types import MOST_STACKED, Bar, Chart, LineChart, Series, StackedShares, WorldMap
from reelport.charts.drawing import draw_file, draw_inline_bar, embed_chart, explain_absence, render_png
from reelport.charts.time_axis import GRAIN_WORDS, count_settled, describe_partial, describe_time, format_time
from reelport.language import N_, _, ngettext
from reelport.query import ReportQuery
from reelport.server.explore.numbers import Entry, Figure, Leaderboard, Lines, Number, Numbers, OverBudget
from reelport.server.explore.view import Parameter, Sort, View, name_cell
from reelport.server.explore.view_days import Comparison
from reelport.server.explore.view_parameters import LONGEST, Defaults
from reelport.server.files.file_names import name_file
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
_TABLE_LABELS = {name: name for name in (N_("plays"), N_("ads"), N_("earnings"), N_("usage"), N_("videos"))}
# What the compared days are called.
COMPARISONS = {
    Comparison.PREVIOUS: N_("Days before"),
    Comparison.WEEKDAYS: N_("Same weekdays before"),
    Comparison.YEAR: N_("A year before"),
}


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

    `cell` is its cell in words. `page` is the address of the page of what it names; None where that has none.
    """

    entry: Entry
    cell: str
    view: View | None
    bar: Markup
    cells: tuple[Cell, ...]
    page: str | None


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard as a table, or why it isn't there.

    `notes` are sentences below it, `picture` is a map above it, `shares` are its largest parts over time, and
    `other_shares` is the view with them or without, `other_rows` the one with more rows, or with fewer of those that
    are many.
    """

    dimension: Dimension
    label: str
    headings: tuple[Heading, ...] = ()
    rows: tuple[BoardRow, ...] = ()
    notes: tuple[str, ...] = ()
    other_rows: View | None = None
    is_long: bool = False
    over_budget: OverBudget | None = None
    picture: Markup | None = None
    shares: Markup | None = None
    other_shares: View | None = None


@dataclass(frozen=True)
class Page:
    """A view and its numbers as the templates show them, in words and pictures.

    `fixed` is the dimension that the page's address narrows: no filter of it can be removed. `parts` are the lines of
    the cells whose shares are drawn over time; None where the page offers no shares.
    """

    view: View
    numbers: Numbers
    defaults: Defaults
    fixed: Dimension | None = None
    parts: Parts | OverBudget | None = None

    @cached_property
    def unknown(self) -> str | None:
        """Which of the compared days lie before the first complete one: there is no change then."""
        days, first = self.view.compared_days, self.defaults.first_day(self.view.metrics)
        return None if days is None or days[0] >= first else format_days(days[0], min(days[1], first - timedelta(1)))

    @property
    def compared(self) -> str | None:
        """The compared days."""
        return format_days(*self.view.compared_days) if self.view.compared_days else None

    @property
    def freshness(self) -> str:
        """To which day the tables are complete, and when they were loaded."""
        return describe_freshness(self.view.metrics, self.defaults)

    @property
    def is_moving(self) -> bool:
        """Whether some of the days may still change."""
        last = self.defaults.complete_day(self.view.metrics)
        return last is None or self.view.end > last

    @property
    def lines(self) -> Lines:
        """The times of the lines; none where these exceed the budget."""
        return () if isinstance(self.numbers.lines, OverBudget) else self.numbers.lines

    @property
    def has_numbers(self) -> bool:
        """Whether any time on the lines has a number, or had one before."""
        return any(figure != Figure(None) for point in self.lines for figure in point.figures)

    @cached_property
    def units(self) -> dict[Metric, MetricUnit]:
        """The unit of each metric: that of its chart, by its largest number."""
        rows, units = [point.figures for point in self.lines], {}
        if isinstance(self.numbers.lines, OverBudget) and not isinstance(self.numbers.totals, OverBudget):
            rows = [self.numbers.totals]
        for place, metric in enumerate(self.view.metrics):
            figures = [row[place] for row in rows]
            befores = [figure.before for figure in figures] if self.view.compares_lines else []
            units[metric] = choose_metric_unit(metric, [*(figure.value for figure in figures), *befores])
        return units

    @cached_property
    def totals(self) -> list[tuple[str, str, str, Cell, str | None]]:
        """The totals: name, unit, sentence and number of each metric, and how it changed."""
        found, totals = [], () if isinstance(self.numbers.totals, OverBudget) else self.numbers.totals
        for metric, figure in zip(self.view.metrics, totals, strict=bool(totals)):
            written, label = self.units[metric], name_metric(metric)
            said = "" if figure.value is None or written.unit.lower() in label.lower() else written.unit
            number = replace(make_cell(written, figure.value), text=written.write_short(figure.value))
            change = NO_NUMBER if self.unknown else written.write_change(figure)
            shown = None if self.view.comparison is Comparison.NONE else change
            found.append((label, said, _(metric.sentence), number, shown))
        return found

    @cached_property
    def charts(self) -> list[LinePicture]:
        """The chart of each metric; none where there is no number."""
        return [self.draw_line(metric) for metric in self.view.metrics] if self.has_numbers else []

    def draw_line(self, metric: Metric) -> LinePicture:
        """Draw the chart of a metric over time."""
        chart = self.line_charts[metric]
        picture = Markup(embed_chart(chart, self.units[metric].write_amount))  # noqa: S704 - its texts are escaped
        return metric.name, chart.heading, picture

    @cached_property
    def line_charts(self) -> dict[Metric, LineChart]:
        """Each metric over time.

        What comes after the complete days of its tables may still change. Within them a time without facts is 0 where
        the metric adds up; elsewhere it is a gap.
        """
        return {metric: self._make_line_chart(metric) for metric in self.view.metrics}

    def _make_line_chart(self, metric: Metric) -> LineChart:
        view, grain, place = self.view, self.view.grain, self.view.metrics.index(metric)
        complete = self.defaults.complete_days([metric])
        days = [point.day for point in self.lines]
        times, name = tuple(format_time(day, grain) for day in days), name_metric(metric)

        def fill(days: Sequence[date], values: Iterable[Number]) -> tuple[Number, ...]:
            dates = [day.date() if isinstance(day, datetime) else day for day in days]
            return tuple(
                0 if value is None and metric.additive and complete and complete[0] <= day <= complete[1] else value
                for day, value in zip(dates, values, strict=True)
            )

        chart = LineChart(
            _("%(metrics)s by %(dimensions)s", metrics=name, dimensions=_(GRAIN_WORDS[grain])),
            times,
            (Series(name, fill(days, (point.figures[place].value for point in self.lines))),),
            metric.unit,
            grain,
            count_settled(times, grain, complete and complete[1], view.end),
            describe_partial(times, grain, view.start, view.end),
        )
        if not view.compares_lines:
            return chart
        days = [view.compared_time(day) for day in days]
        befores = fill(days, (point.figures[place].before for point in self.lines))
        line = Series(_(COMPARISONS[view.comparison]), befores)
        return replace(chart, comparison=line, comparison_times=tuple(format_time(day, grain) for day in days))

    @property
    def columns(self) -> list[str]:
        """The headings of the lines as a table."""
        before = (_(COMPARISONS[self.view.comparison]),) if self.view.compares_lines else ()
        return [each for metric in self.view.metrics for each in (self.units[metric].heading, *before)]

    @cached_property
    def times(self) -> list[tuple[str, str, list[Cell], bool]]:
        """The lines as a table: each time with its numbers, and whether these may change."""
        view, times = self.view, self.line_charts[self.view.metrics[0]].times
        settled = count_settled(times, view.grain, self.defaults.complete_day(view.metrics), view.end)
        columns = [(self.units[each], line.values) for each, chart in self.line_charts.items() for line in chart.lines]
        return [
            (time, describe_time(time), [make_cell(unit, values[at]) for unit, values in columns], at >= settled)
            for at, time in enumerate(times)
        ]

    @cached_property
    def filters(self) -> list[tuple[str, str, View]]:
        """The filters that can be removed: name, value, and the view without."""
        view, found = self.view, list[tuple[str, str, View]]()
        for pair in view.filters:
            label, rest = capitalize(label_filter(pair[0])), tuple(each for each in view.filters if each is not pair)
            if pair[0].dimension is not self.fixed:
                found.append((label, name_cell(pair[0].dimension, pair[1]), replace(view, filters=rest)))
        for cell in view.kept:
            others = tuple(each for each in view.kept if each != cell)
            if cell[0] is not self.fixed:
                found.append((name_dimension(cell[0]), name_cell(*cell), replace(view, kept=others)))
        return found

    @cached_property
    def boards(self) -> list[Board]:
        """The leaderboards."""
        return [self.make_board(dimension) for dimension in self.view.dimensions]

    def make_board(self, dimension: Dimension) -> Board:
        """Make the table of a leaderboard."""
        view, board, label = self.view, self.numbers.leaderboards[dimension], name_dimension(dimension)
        if isinstance(board, OverBudget):
            return Board(dimension, label, over_budget=board)
        place = view.metrics.index(view.ranked_by)
        amounts = [float(entry.figures[place].value or 0) for entry in board.entries]
        largest = max(amounts, default=0.0)
        rows = tuple(
            BoardRow(
                entry,
                name_cell(dimension, entry.cell),
                keep_value(view, dimension, entry.cell),
                Markup(draw_inline_bar(amount, largest)),  # noqa: S704 - drawn from two numbers
                tuple(self._make_cells(entry)),
                write_page_address(view, dimension, entry.cell or ""),
            )
            for entry, amount in zip(board.entries, amounts, strict=True)
        )
        is_long, has_more = view.longer is dimension, board.rows > len(board.entries)
        made = Board(
            dimension,
            label,
            tuple(self._make_headings()),
            rows,
            tuple(self._write_notes(board)),
            replace(view, longer=None if is_long else dimension) if is_long or has_more else None,
            is_long,
            # A map of a few of all countries would show the others as if nobody had watched there.
            picture=None if has_more and not is_long else self.draw_map(dimension),
        )
        if self.parts is None or not self.may_share(dimension):
            return made
        if view.shares is not dimension:
            return replace(made, other_shares=replace(view, shares=dimension))
        made = replace(made, other_shares=replace(view, shares=None))
        if isinstance(self.parts, OverBudget):
            return replace(made, notes=(*made.notes, self.parts.sentence))
        return replace(made, shares=self._draw_shares(self.parts))

    def _make_cells(self, entry: Entry) -> Iterator[Cell]:
        view = self.view
        for metric, figure, share in zip(view.metrics, entry.figures, entry.shares, strict=True):
            yield make_cell(self.units[metric], figure.value)
            if metric is view.ranked_by:
                yield Cell(write_share(share), "")
                if view.comparison is not Comparison.NONE:
                    in_full = view.sort is Sort.CHANGE  # the column is sorted by the amount
                    change = make_change(self.units[metric], figure, in_full=in_full)
                    yield Cell(NO_NUMBER, "") if self.unknown else change

    def _make_headings(self) -> Iterator[Heading]:
        """Make the headings of the columns, in the order of `_make_cells`."""
        view = self.view
        for metric in view.metrics:
            labels = {Sort.VALUE: self.units[metric].heading}
            if metric is view.ranked_by:
                labels[Sort.SHARE] = _("Share of total")
                if view.comparison is not Comparison.NONE:
                    labels[Sort.CHANGE] = _("Changed by")
            for sort, label in labels.items():
                is_sorted = view.ranked_by is metric and view.sort is sort
                order = ("ascending" if view.reverse else "descending") if is_sorted else None
                sorted_view = replace(view, ranked_by=metric, sort=sort, reverse=is_sorted and not view.reverse)
                yield Heading(f"{metric.name}-{sort.value}", label, sorted_view, order)

    def _write_notes(self, board: Leaderboard) -> Iterator[str]:
        view, shown = self.view, sum(entry.is_shown for entry in board.entries)
        rest = board.rest[view.metrics.index(view.ranked_by)]
        if board.rows <= shown:
            yield ngettext("%(n)s value in all.", "%(n)s values in all.", board.rows)
        elif rest is None:
            said = {"shown": format_whole(shown)}
            yield ngettext("%(shown)s of %(n)s value.", "%(shown)s of %(n)s values.", board.rows, **said)
        else:
            yield ngettext(
                "%(shown)s of %(n)s value; the others come to %(rest)s.",
                "%(shown)s of %(n)s values; the others come to %(rest)s.",
                board.rows,
                shown=format_whole(shown),
                rest=self.units[view.ranked_by].write_amount(rest),
            )
        if view.comparison is not Comparison.NONE and not board.compared:
            yield _("The compared days have no numbers: there is no change to show.")
        if view.ranked_by in board.reasons:
            yield _(board.reasons[view.ranked_by])

    def draw_map(self, dimension: Dimension) -> Markup | None:
        """Draw a leaderboard of countries as a map; None for other dimensions."""
        board, metric = self.numbers.leaderboards[dimension], self.view.ranked_by
        shown = [each for each in board.entries if each.is_shown] if isinstance(board, Leaderboard) else []
        if dimension not in COUNTRIES or not shown:
            return None
        place, by = self.view.metrics.index(metric), label_dimension(dimension)
        countries = tuple(
            Bar(name_cell(dimension, each.cell), each.figures[place].value, each.cell or "") for each in shown
        )
        heading = _("%(metrics)s by %(dimensions)s", metrics=name_metric(metric), dimensions=by)
        chart = WorldMap(heading, countries, metric.unit)
        return Markup(embed_chart(chart, self.units[metric].write_amount))  # noqa: S704 - its texts are escaped

    def may_share(self, dimension: Dimension) -> bool:
        """Whether the values of a leaderboard are parts of the lines, and few enough to be drawn."""
        view, board = self.view, self.numbers.leaderboards[dimension]
        wholes = [point.figures[view.metrics.index(view.ranked_by)].value or 0 for point in self.lines]
        is_apart = isinstance(board, Leaderboard) and view.ranked_by not in board.reasons and board.rows > 1
        return is_apart and len(wholes) <= MOST_STACKED and any(wholes) and min(wholes) >= 0

    def _draw_shares(self, parts: Parts) -> Markup | None:
        """Draw the shares that some cells have over time; None where one is below 0."""
        view, metric = replace(self.view, comparison=Comparison.NONE), self.view.ranked_by
        chart, place = replace(self, view=view).line_charts[metric], view.metrics.index(metric)
        values = [(name, [point.figures[0].value or 0 for point in part]) for name, part in parts]
        wholes = [point.figures[place].value or 0 for point in self.lines]
        rest = [whole - sum(each) for whole, *each in zip(wholes, *(numbers for _name, numbers in values), strict=True)]
        values += [(_("All others"), rest)] if any(rest) else []
        if any(number < 0 for _name, numbers in values for number in numbers):
            return None
        series = tuple(Series(name, tuple(numbers)) for name, numbers in values)
        known = chart.times, series, chart.unit, chart.grain, chart.settled, chart.notes
        shares = StackedShares(name_metric(metric), *known)
        return Markup(embed_chart(shares))  # noqa: S704 - its texts are escaped

    def make_picker(self, near: str | None) -> dict[str, Any] | None:
        """Make the list of values of a dimension to choose from; None where the view picks none.

        `values` are what a search found, and what is chosen: of each what the form sends, its name, title and number,
        and whether it is chosen. The form sends `fields` beside them. `note` says of how many these are the first, or
        why there is none. `near` is a text that is like one that found nothing, with the view that searches for it.
        """
        view, dimension, board = self.view, self.view.picked, self.numbers.picked
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
        unit, place = self.units[view.ranked_by], view.metrics.index(view.ranked_by)
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


# Characters of a value that a view may be narrowed to.
_LONGEST = LONGEST - max(len(f"{dimension.name}:") for dimension in Dimension)
_UNSENT = frozenset("\0\r\n")


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

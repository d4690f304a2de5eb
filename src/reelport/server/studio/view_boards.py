"""Leaderboards of a view as tables, with cells that filter and headings that sort."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from markupsafe import Markup

from reelport.catalog import Dimension, Filter, Metric
from reelport.catalog.labels import capitalize, label_dimension
from reelport.charts import draw_inline_bar
from reelport.server.explore.numbers import Entry, Figure, Leaderboard, OverBudget
from reelport.server.explore.options import Options
from reelport.server.explore.view import Comparison, Sort, View
from reelport.server.explore.view_parameters import LONGEST
from reelport.server.studio.number_text import NO_NUMBER, MetricUnit, group_digits, write_full, write_share

EMPTY = "(empty)"
_LONGEST = LONGEST - max(len(f"{dimension.name}:") for dimension in Dimension)
"""Characters of a value that a view may be narrowed to."""
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
    """A number of a row: its text, and in full as the report has it."""

    text: str
    full: str


@dataclass(frozen=True, slots=True)
class BoardRow:
    """A row of a leaderboard.

    `view` is the one that it filters to, None where that is the view already.
    """

    cell: str
    title: str | None
    view: View | None
    bar: Markup
    cells: tuple[Cell, ...]
    is_gone: bool


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard as a table, or why it isn't there. `notes` are sentences below it."""

    dimension: Dimension
    label: str
    headings: tuple[Heading, ...]
    rows: tuple[BoardRow, ...]
    notes: tuple[str, ...]
    longer: View | None
    shorter: View | None
    over_budget: OverBudget | None = None


def make_board(
    view: View,
    dimension: Dimension,
    board: Leaderboard | OverBudget,
    options: Options,
    units: Mapping[Metric, MetricUnit],
    *,
    can_change: bool = True,
) -> Board:
    """Make the table of a leaderboard.

    Where some of the compared days have no data, nothing `can_change`.
    """
    label = capitalize(label_dimension(dimension))
    if isinstance(board, OverBudget):
        return Board(dimension, label, (), (), (), None, None, board)
    filter_ = find_filter(dimension, options)
    write = partial(_make_cells, view, units, can_change=can_change)
    rows = tuple(_make_row(view, board, entry, filter_, tuple(write(entry))) for entry in board.entries)
    is_longer = view.longer is dimension
    more = replace(view, longer=dimension) if not is_longer and board.rows > len(board.entries) else None
    notes = tuple(_write_notes(view, board, units[view.ranked_by]))
    headings = tuple(_make_headings(view, units))
    fewer = replace(view, longer=None) if is_longer else None
    return Board(dimension, label, headings, rows, notes, more, fewer)


def find_filter(dimension: Dimension, options: Options) -> Filter | None:
    """Find the filter by a dimension's values; None where no report of these metrics has one."""
    fitting = (option.row for option in options.filters if option.reason is None)
    return next((filter_ for filter_ in fitting if filter_.dimension is dimension), None)


def keep_value(view: View, dimension: Dimension, filter_: Filter | None, cell: str | None) -> View | None:
    """Narrow a view to a cell's value.

    It does so by the filter of its report, or in the view alone where no filter takes the value. None where the view
    has it already, or no address can hold it, or no form sends it as it is: browsers write every line break as CRLF.
    """
    value = (cell or "").upper() if filter_ and filter_.choices else cell or ""
    if len(value) > _LONGEST or not _UNSENT.isdisjoint(value):
        return None
    if filter_ is None or (filter_.choices and value not in filter_.choices):
        kept = {**dict(view.kept), dimension: cell or ""}
        narrowed = replace(view, kept=tuple((row, kept[row]) for row in Dimension if row in kept))
    else:
        filters = {**dict(view.filters), filter_: value}
        narrowed = replace(view, filters=tuple((row, filters[row]) for row in Filter if row in filters))
    return None if narrowed == view else narrowed


def _make_row(
    view: View, board: Leaderboard, entry: Entry, filter_: Filter | None, cells: tuple[Cell, ...]
) -> BoardRow:
    place = view.metrics.index(view.ranked_by)
    largest = max((float(each.figures[place].value or 0) for each in board.entries), default=0.0)
    return BoardRow(
        EMPTY if entry.cell is None else entry.cell,
        entry.title,
        keep_value(view, board.dimension, filter_, entry.cell),
        Markup(draw_inline_bar(float(entry.figures[place].value or 0), largest)),  # noqa: S704 - drawn from two numbers
        cells,
        not entry.is_shown,
    )


def _make_cells(view: View, units: Mapping[Metric, MetricUnit], entry: Entry, *, can_change: bool) -> Iterator[Cell]:
    for metric, figure, share in zip(view.metrics, entry.figures, entry.shares, strict=True):
        yield Cell(units[metric].write(figure.value), write_full(figure.value))
        if metric is view.ranked_by:
            yield Cell(write_share(share), "")
            if view.comparison is not Comparison.NONE:
                yield _make_change(units[metric], figure) if can_change else Cell(NO_NUMBER, "")


def _make_change(metric_unit: MetricUnit, figure: Figure) -> Cell:
    text = metric_unit.write_change(figure)
    before = "" if figure.before is None else f"before: {figure.before}"
    return Cell("new" if figure.before == 0 and figure.value else text, before)


def _make_headings(view: View, units: Mapping[Metric, MetricUnit]) -> Iterator[Heading]:
    """Make the headings of the columns, in the order of `_make_cells`."""
    for metric in view.metrics:
        yield _make_heading(view, metric, Sort.VALUE, units[metric].heading)
        if metric is view.ranked_by:
            yield _make_heading(view, metric, Sort.SHARE, "Share")
            if view.comparison is not Comparison.NONE:
                yield _make_heading(view, metric, Sort.CHANGE, "Change")


def _make_heading(view: View, metric: Metric, sort: Sort, label: str) -> Heading:
    is_sorted = view.ranked_by is metric and view.sort is sort
    sorted_view = replace(view, ranked_by=metric, sort=sort, reverse=is_sorted and not view.reverse)
    order = ("ascending" if view.reverse else "descending") if is_sorted else None
    return Heading(f"{metric.name}-{sort.value}", label, sorted_view, order)


def _write_notes(view: View, board: Leaderboard, metric_unit: MetricUnit) -> Iterator[str]:
    shown = sum(entry.is_shown for entry in board.entries)
    place = view.metrics.index(view.ranked_by)
    values = f"{group_digits(f'{board.rows:,}')} {'value' if board.rows == 1 else 'values'}"
    if board.rows > shown:
        rest = board.rest[place]
        unit = f" {metric_unit.unit}" if metric_unit.is_named_apart else ""
        others = "" if rest is None else f"; the others come to {metric_unit.write(rest)}{unit}"
        yield f"{shown:,} of {values}{others}."
    else:
        yield f"{values} in all."
    if view.comparison is not Comparison.NONE and not board.compared:
        yield "The compared days have no numbers: there is no change to show."
    if view.ranked_by in board.reasons:
        yield board.reasons[view.ranked_by]

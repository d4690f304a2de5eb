"""The page of a view: numbers as people read them, what may still move, and leaderboards."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from reelport.catalog import Dimension, Filter, Grain, Metric
from reelport.facts.log.freshness import Freshness
from reelport.server.explore.numbers import (
    Entry,
    Figure,
    Leaderboard,
    Number,
    Numbers,
    OverBudget,
    Point,
)
from reelport.server.explore.view import View
from reelport.server.explore.view_days import Comparison
from reelport.server.explore.view_parameters import Defaults
from reelport.server.studio.formats import MetricUnit, write_number, write_share
from reelport.server.studio.view_page import Board, Page, keep_value, make_change

FIRST, COMPLETE, TODAY = date(2026, 6, 1), date(2026, 7, 20), date(2026, 7, 22)
DEFAULTS = Defaults((Metric.VIEWS,), (), {"plays": Freshness("plays", COMPLETE, None, FIRST)}, TODAY)


def show_months(end: date) -> Page:
    """Make the page of June and July, up to a day, by month."""
    view = View((Metric.VIEWS,), (), FIRST, end, Metric.VIEWS, Grain.MONTH)
    points = tuple(Point(day, (Figure(views),)) for day, views in ((FIRST, 30), (date(2026, 7, 1), 20)))
    numbers = Numbers((Figure(50),), points, {})
    return Page(view, numbers, DEFAULTS)


@pytest.mark.parametrize(("end", "is_moving"), [(COMPLETE, False), (TODAY, True)])
def test_page_picture_and_table_agree_on_a_month_of_which_a_part_is_shown(end: date, is_moving: bool) -> None:
    """It may still move where one of the days that are shown may."""
    page = show_months(end)
    assert page.is_moving is is_moving
    assert [row[-1] for row in page.times] == [False, is_moving]
    assert ("From Jul 2026 on, numbers may still change." in page.charts[0][-1]) is is_moving
    assert ("chart-hatch" in page.charts[0][-1]) is is_moving
    assert "Of Jul 2026 only a part is shown." in page.charts[0][-1]


VIEW = View(
    (Metric.VIEWS,), (Dimension.MEDIA_TYPE,), date(2026, 7, 1), date(2026, 7, 4), Metric.VIEWS, Grain.DAY,
    comparison=Comparison.PREVIOUS,
)  # fmt: skip


def make_board(dimension: Dimension, board: Leaderboard | OverBudget) -> Board:
    """Make the table of a leaderboard, beside lines without a time."""
    return Page(VIEW, Numbers((Figure(3),), (), {dimension: board}), DEFAULTS).make_board(dimension)


@pytest.mark.parametrize(
    ("filter_", "cell", "kept"),
    [
        (Filter.mediaType, "live", "LIVE"),
        (Filter.visitorDomainGroup, "news", "news"),
        (Filter.visitorDomainGroup, None, ""),
    ],
)
def test_a_cell_is_kept_by_the_value_that_its_filter_takes(filter_: Filter, cell: str | None, kept: str) -> None:
    """A filter with choices takes those alone; the empty cell has a filter of its own."""
    narrowed = keep_value(VIEW, filter_.dimension, cell)
    assert narrowed is not None
    assert narrowed.filters == ((filter_, kept),)
    assert keep_value(narrowed, filter_.dimension, cell) is None


@pytest.mark.parametrize(
    ("dimension", "cell", "kept"),
    [
        (Dimension.VISITOR_COUNTRY, "FR", "FR"),
        (Dimension.VISITOR_COUNTRY, None, ""),
        (Dimension.MEDIA_TYPE, "hologram", "hologram"),
        (Dimension.MEDIA_TYPE, None, ""),
    ],
)
def test_a_cell_that_no_filter_takes_narrows_the_view_alone(dimension: Dimension, cell: str | None, kept: str) -> None:
    """Its report has the dimension, so that its rows with that cell are those of the view."""
    narrowed = keep_value(VIEW, dimension, cell)
    assert narrowed is not None
    assert (narrowed.filters, narrowed.kept) == ((), ((dimension, kept),))
    assert dimension.name in narrowed.report_query().dimensions
    assert keep_value(narrowed, dimension, cell) is None


@pytest.mark.parametrize("cell", ["x" * 1000, "a\0b", "a\nb", "a\rb"])
def test_what_no_address_or_form_can_hold_is_no_link(cell: str) -> None:
    """The page shows it as text."""
    assert keep_value(VIEW, Dimension.VIDEO_TITLE, cell) is None


def test_each_value_of_a_leaderboard_narrows() -> None:
    """A country has no filter in a report: the view alone is narrowed."""
    entry = Entry("FR", None, (Figure(3, 0),), (None,))
    board = make_board(Dimension.VISITOR_COUNTRY, _board(entry, rows=1))
    assert board.rows[0].view == replace(VIEW, kept=((Dimension.VISITOR_COUNTRY, "FR"),))
    assert board.notes == ("1 value in all.",)


def test_what_was_nothing_is_new_and_what_is_gone_says_so() -> None:
    """What is new has no percentage; what is gone lost all of it."""
    new = Entry("live", None, (Figure(3, 0),), (None,))
    gone = Entry("video", None, (Figure(0, 5),), (None,), is_shown=False)
    board = make_board(Dimension.MEDIA_TYPE, _board(new, gone, rows=1))
    assert [[cell.text for cell in row.cells][-1] for row in board.rows] == [
        "new",
        "\N{MINUS SIGN}100.0%",
    ]
    assert [row.entry.is_shown for row in board.rows] == [True, False]


def test_without_numbers_in_the_compared_days_there_is_no_change() -> None:
    """The board says why."""
    entry = Entry("live", None, (Figure(3),), (None,))
    board = make_board(Dimension.MEDIA_TYPE, replace(_board(entry, rows=1), compared=0))
    assert "The compared days have no numbers: there is no change to show." in board.notes


def test_a_board_over_the_budget_says_why() -> None:
    """It has no rows that could be taken for all of them."""
    board = make_board(Dimension.MEDIA_TYPE, OverBudget("It took longer than 10.0 s."))
    assert (board.rows, board.over_budget) == ((), OverBudget("It took longer than 10.0 s."))


def _board(*entries: Entry, rows: int) -> Leaderboard:
    return Leaderboard(Dimension.VISITOR_COUNTRY, entries, rows, 1, (0,), {})


MONEY, VIEWS = Metric.ESTIMATED_EARNINGS_EUR, Metric.VIEWS


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (VIEWS, None, "\N{EN DASH}"),
        (VIEWS, 0, "0"),
        (VIEWS, 2**63, "9,223,372,036,854,775,808"),
        (MONEY, Decimal("1234.567890"), "€1,234.57"),
        (MONEY, Decimal("-12.5"), "\N{MINUS SIGN}€12.50"),
        (MONEY, Decimal("0.123456"), "€0.12"),
        (MONEY, Decimal("-0.004321"), "\N{MINUS SIGN}<\N{NO-BREAK SPACE}€0.01"),
        (MONEY, Decimal("0.000000"), "€0.00"),
        (Metric.ECPM_USD, Decimal("0.5"), "$0.50"),
        (Metric.VIEW_THROUGH_RATE, Decimal("0.05"), "0.05"),
        (Metric.FILL_RATE, Decimal("0.1234"), "0.1234"),
    ],
)
def test_a_number_is_rounded_only_behind_the_point(metric: Metric, value: Number, text: str) -> None:
    """Thousands are set apart by commas; what is missing is a dash."""
    assert write_number(metric, value) == text


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(150, 100), "+50.0%"),
        (Figure(0, 100), "\N{MINUS SIGN}100.0%"),
        (Figure(100, 100), "0.0%"),
        (Figure(9_999, 10_000), "0.0%"),
        (Figure(11, 1), "+1,000%"),
        (Figure(1500, 0), "+1,500"),
        (Figure(0, 0), "0"),
        (Figure(5, None), "\N{EN DASH}"),
    ],
)
def test_a_change_is_a_percentage_where_there_was_something(figure: Figure, text: str) -> None:
    """From nothing it is the number itself; one that is rounded to none has no sign."""
    assert MetricUnit(VIEWS).write_change(figure) == text


@pytest.mark.parametrize(
    ("figure", "short", "full", "direction"),
    [
        (Figure(3, 143), "\N{MINUS SIGN}97.9%", "\N{MINUS SIGN}140 (\N{MINUS SIGN}97.9%)", -1),
        (Figure(419, 0), "new", "+419 (new)", 1),
        (Figure(27_268, 27_266), "0.0%", "+2 (0.0%)", 0),
        (Figure(5, 5), "0.0%", "0 (0.0%)", 0),
    ],
)
def test_a_column_that_is_sorted_by_changes_says_by_how_much(
    figure: Figure, short: str, full: str, direction: int
) -> None:
    """Percentages alone would look unsorted. What is rounded to no change has no colour."""
    cell = make_change(MetricUnit(VIEWS), figure)
    assert (cell.text, cell.direction) == (short, direction)
    assert make_change(MetricUnit(VIEWS), figure, in_full=True).text == full


def test_a_share_is_a_percentage_with_one_digit() -> None:
    """There may be none."""
    assert write_share(Decimal("0.12345")) == "12.3%"
    assert write_share(None) == "\N{EN DASH}"

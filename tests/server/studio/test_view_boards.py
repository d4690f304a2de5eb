"""A value of a leaderboard filters where a report can be narrowed by it, and says so where it can't."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from reelport.catalog import Dimension, Filter, Grain, Metric
from reelport.check import Rules
from reelport.server.explore.numbers import Entry, Figure, Leaderboard, OverBudget
from reelport.server.explore.options import list_options
from reelport.server.explore.view import Comparison, View
from reelport.server.studio.view_boards import find_filter, keep_value, make_board
from reelport.server.studio.view_units import MetricUnit

VIEW = View(
    (Metric.VIEWS,), (Dimension.MEDIA_TYPE,), date(2026, 7, 1), date(2026, 7, 4), Metric.VIEWS, Grain.DAY,
    comparison=Comparison.PREVIOUS,
)  # fmt: skip
OPTIONS = list_options(VIEW, Rules())
UNITS = {Metric.VIEWS: MetricUnit(Metric.VIEWS)}


@pytest.mark.parametrize(
    ("filter_", "cell", "kept"),
    [
        (Filter.mediaType, "live", "LIVE"),
        (Filter.mediaType, "hologram", None),
        (Filter.mediaType, None, None),
        (Filter.visitorDomainGroup, "news", "news"),
        (Filter.visitorDomainGroup, None, ""),
    ],
)
def test_a_cell_is_kept_by_the_value_that_its_filter_takes(filter_: Filter, cell: str | None, kept: str | None) -> None:
    """A filter with choices takes those alone; the empty cell has a filter of its own."""
    narrowed = keep_value(VIEW, filter_, cell)
    assert (narrowed and narrowed.filters) == (None if kept is None else ((filter_, kept),))
    if narrowed is not None:
        assert keep_value(narrowed, filter_, cell) is None


def test_a_dimension_without_a_filter_says_that_nothing_narrows_by_it() -> None:
    """No value of it is a link."""
    assert find_filter(Dimension.MEDIA_TYPE, OPTIONS) is Filter.mediaType
    assert find_filter(Dimension.VISITOR_COUNTRY, OPTIONS) is None
    entry = Entry("FR", None, (Figure(3, 0),), (None,))
    board = make_board(VIEW, Dimension.VISITOR_COUNTRY, _board(entry, rows=1), OPTIONS, UNITS)
    assert board.rows[0].view is None
    assert board.notes == ("1 value in all.",)
    assert board.unfiltered == "A report can't be narrowed by visitor country, so neither can this view."


def test_what_was_nothing_is_new_and_what_is_gone_says_so() -> None:
    """What is new has no percentage; what is gone lost all of it."""
    new = Entry("live", None, (Figure(3, 0),), (None,))
    gone = Entry("video", None, (Figure(0, 5),), (None,), is_shown=False)
    board = make_board(VIEW, Dimension.MEDIA_TYPE, _board(new, gone, rows=1), OPTIONS, UNITS)
    assert [[cell.text for cell in row.cells][-1] for row in board.rows] == [
        "new",
        "\N{MINUS SIGN}100.0\N{NARROW NO-BREAK SPACE}%",
    ]
    assert [row.is_gone for row in board.rows] == [False, True]


def test_without_numbers_in_the_compared_days_there_is_no_change() -> None:
    """The board says why."""
    entry = Entry("live", None, (Figure(3),), (None,))
    board = make_board(VIEW, Dimension.MEDIA_TYPE, replace(_board(entry, rows=1), compared=0), OPTIONS, UNITS)
    assert "The compared days have no numbers: there is no change to show." in board.notes


def test_a_board_over_the_budget_says_why() -> None:
    """It has no rows that could be taken for all of them."""
    board = make_board(VIEW, Dimension.MEDIA_TYPE, OverBudget("It took longer than 10.0 s."), OPTIONS, UNITS)
    assert (board.rows, board.over_budget) == ((), OverBudget("It took longer than 10.0 s."))


def _board(*entries: Entry, rows: int) -> Leaderboard:
    return Leaderboard(Dimension.VISITOR_COUNTRY, entries, rows, 1, (0,), {})

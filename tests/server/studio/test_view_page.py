"""The page of a view: which of its times may still move."""

from __future__ import annotations

from datetime import date

import pytest

from reelport.catalog import Grain, Metric
from reelport.check import Rules
from reelport.facts.log.freshness import Freshness
from reelport.server.explore.numbers import Figure, Lines, Numbers, Point, Totals
from reelport.server.explore.options import list_options
from reelport.server.explore.view import View
from reelport.server.explore.view_parameters import Defaults
from reelport.server.studio.view_page import ViewPage, make_page

FIRST, COMPLETE, TODAY = date(2026, 6, 1), date(2026, 7, 20), date(2026, 7, 22)
DEFAULTS = Defaults((Metric.VIEWS,), (), {"plays": COMPLETE}, TODAY, first={"plays": FIRST})
FRESHNESS = {"plays": Freshness("plays", COMPLETE, None, FIRST)}


def show_months(end: date) -> ViewPage:
    """Make the page of June and July, up to a day, by month."""
    view = View((Metric.VIEWS,), (), FIRST, end, Metric.VIEWS, Grain.MONTH)
    points = tuple(Point(day, (Figure(views),)) for day, views in ((FIRST, 30), (date(2026, 7, 1), 20)))
    numbers = Numbers(Totals((Figure(50),)), Lines(points), {})
    return make_page(view, numbers, DEFAULTS, FRESHNESS, list_options(view, Rules()))


@pytest.mark.parametrize(("end", "is_moving"), [(COMPLETE, False), (TODAY, True)])
def test_page_picture_and_table_agree_on_a_month_of_which_a_part_is_shown(end: date, is_moving: bool) -> None:
    """It may still move where one of the days that are shown may."""
    page = show_months(end)
    assert page.is_moving is is_moving
    assert [row.is_moving for row in page.times] == [False, is_moving]
    assert ("From Jul 2026 on, numbers may still change." in page.charts[0].picture) is is_moving
    assert ("chart-hatch" in page.charts[0].picture) is is_moving
    assert "Of Jul 2026 only a part is shown." in page.charts[0].picture

"""Charts of a view: one a metric, compared day by day, with what may still change."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from reelport.catalog import Grain, Metric, Unit
from reelport.charts import LineChart, embed_chart
from reelport.server.explore.numbers import Figure, Lines, Point
from reelport.server.explore.view import Comparison, View
from reelport.server.studio.view_charts import draw_lines

VIEW = View(
    (Metric.VIEWS, Metric.ESTIMATED_EARNINGS_EUR), (), date(2026, 7, 1), date(2026, 7, 3), Metric.VIEWS, Grain.DAY
)


def lines_of(view: View, before: bool) -> Lines:
    """Numbers of each day of a view; its second day has none."""
    days = [view.start + timedelta(number) for number in range(view.days)]
    return Lines(tuple(Point(day, tuple(_figure(day, before) for _ in view.metrics)) for day in days))


def _figure(day: date, before: bool) -> Figure:
    return Figure(None if day.day == 2 else day.day, 10 if before else None)


def test_each_metric_has_a_chart_of_its_own() -> None:
    """In its unit, with gaps; days after the last complete one may still change."""
    views, earnings = draw_lines(VIEW, lines_of(VIEW, before=False), date(2026, 7, 2))
    assert (views.heading, views.unit, views.series[0].values) == ("Views by day", Unit.VIEWS, (1, None, 3))
    assert (earnings.heading, earnings.unit) == ("Estimated earnings EUR by day", Unit.EUR)
    assert (views.first_moving, views.comparison) == (2, None)


def test_compared_days_stand_under_the_days_that_they_are_compared_with() -> None:
    """A Wednesday under a Wednesday; the tooltip tells both days."""
    view = replace(VIEW, comparison=Comparison.WEEKDAYS)
    chart = draw_lines(view, lines_of(view, before=True), None)[0]
    assert chart.comparison_times == ("2026-06-24", "2026-06-25", "2026-06-26")
    assert "1 Jul 2026: 1 view, Same weekdays before (24 Jun 2026): 10 views" in embed_chart(chart)


def test_months_that_are_cut_are_named() -> None:
    """A month that the view has a part of is no fall in numbers."""
    view = replace(VIEW, start=date(2026, 5, 20), grain=Grain.MONTH)
    months = [date(2026, month, 1) for month in (5, 6, 7)]
    lines = Lines(tuple(Point(month, (Figure(5), Figure(5))) for month in months))
    chart = draw_lines(view, lines, date(2026, 6, 30))[0]
    assert isinstance(chart, LineChart)
    assert chart.times == ("2026-05", "2026-06", "2026-07")
    assert chart.first_moving == 2
    assert chart.notes == ("Of May 2026 and Jul 2026 only a part is shown.",)

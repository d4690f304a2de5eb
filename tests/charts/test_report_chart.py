"""The chart of a report by its shape: lines, bars, or none and why; and its PNG, drawn without a network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest

from reelport.additivity import Rate
from reelport.charts.chart_types import Bar, BarChart, Chart, LineChart, Series
from reelport.charts.drawing import draws_texts, explain_absence, render_png
from reelport.charts.report_chart import ChartPlan, Group, NoChart, plan_report_chart
from reelport.cli.output.chart import read_groups
from reelport.errors import UsageError
from reelport.query import ReportQuery

Rows = Sequence[Sequence[object]]


def ask(metrics: str, dimensions: str) -> ReportQuery:
    """A query of two days."""
    return ReportQuery.of(metrics.split(), dimensions.split(), date(2026, 7, 1), date(2026, 7, 2))


def chart_of(query: ReportQuery, rows: Rows, last_complete: date | None = None, *, moving: bool = False) -> Chart:
    """The chart of a report with these rows."""
    plan = plan_report_chart(query)
    assert isinstance(plan, ChartPlan)
    names = [name.lower() for name in (*query.dimensions, *query.metrics)]
    metrics = [name.lower() for name in query.metrics]
    return plan.draw(read_groups(names, rows, plan.keys, metrics, plan.formula), last_complete, moving=moving)


def test_time_gives_lines() -> None:
    """Days in order; those after the last complete one may still change."""
    rows = [("2026-07-02", 7), ("2026-07-01", 5)]
    chart = chart_of(ask("VIEWS", "DAY"), rows, date(2026, 7, 1), moving=True)
    assert isinstance(chart, LineChart)
    assert (chart.times, chart.series[0].values, chart.first_moving) == (("2026-07-01", "2026-07-02"), (5, 7), 1)
    settled = chart_of(ask("VIEWS", "DAY"), rows)
    assert isinstance(settled, LineChart)
    assert settled.first_moving == 2


def test_a_category_gives_bars_and_other_dimensions_are_added_up() -> None:
    """The largest first; rows of the same channel are one bar."""
    chart = chart_of(ask("VIEWS", "VIDEO_TITLE CHANNEL_SLUG"), [("a", "x", 1), ("b", "x", 5), ("a", "y", 2)])
    assert isinstance(chart, BarChart)
    assert [(bar.label, bar.value) for bar in chart.bars] == [("b", 5), ("a", 3)]


def test_time_and_category_give_a_line_for_each_of_the_largest() -> None:
    """The largest first, each with every time; the heading says what is left out."""
    rows = [(f"c{n}", day, n) for day in ("2026-07-01", "2026-07-02") for n in range(30)]
    chart = chart_of(ask("VIEWS", "VISITOR_COUNTRY DAY"), [*rows, ("once", "2026-07-01", 100)])
    assert isinstance(chart, LineChart)
    assert chart.heading == "Views by day and country, the largest 6 of 31"
    assert [series.name for series in chart.series[:3]] == ["once", "c29", "c28"]
    assert chart.series[0].values == (100, None)


def test_a_rate_is_computed_from_its_parts_over_other_dimensions() -> None:
    """And never averaged."""
    query = ask("FILL_RATE NB_IMPRESSION SELLABLE_INVENTORY", "DAY VISITOR_COUNTRY INVENTORY_POSITION")
    rows = [("2026-07-01", "FR", "a", "0.1000", 1, 10), ("2026-07-01", "FR", "b", "0.9000", 81, 90)]
    chart = chart_of(query, rows)
    assert isinstance(chart, LineChart)
    assert chart.series[0].values == (Decimal("0.8200"),)


def test_a_finer_time_takes_the_coarser_ones_place() -> None:
    """A report by month and day is drawn by day, of whatever kind its metric is."""
    chart = chart_of(ask("LIVE_VIEWERS", "MONTH DAY"), [("2026-07", "2026-07-01", 3), ("2026-07", "2026-07-02", 4)])
    assert isinstance(chart, LineChart)
    assert chart.times == ("2026-07-01", "2026-07-02")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (ask("VIEWS", ""), "A chart needs a metric and a dimension."),
        (
            ask("LIVE_VIEWERS", "DAY CHANNEL_SLUG VIDEO_ID"),
            "LIVE_VIEWERS doesn't add up over VIDEO_ID; ask for it by DAY and CHANNEL_SLUG alone.",
        ),
        (
            ask("VIEW_THROUGH_RATE", "VIDEO_TITLE CHANNEL_SLUG VIDEO_ID"),
            "VIEW_THROUGH_RATE doesn't add up over the other dimensions; ask for it by VIDEO_TITLE alone.",
        ),
        (
            ask("VIEWS", "DAY CHANNEL_SLUG CONTENT_TAG"),
            "VIEWS doesn't add up over CONTENT_TAG; ask for it by DAY and CHANNEL_SLUG alone.",
        ),
    ],
)
def test_what_would_be_a_wrong_chart_is_none_and_says_why(query: ReportQuery, reason: str) -> None:
    """Sums of what doesn't add up are never drawn."""
    assert plan_report_chart(query) == NoChart(reason)


def test_what_has_a_number_for_each_category_needs_no_sums() -> None:
    """Viewers by day and channel are drawn as they are: no rows are added up."""
    rows = [("2026-07-01", "a", 3), ("2026-07-02", "a", 9), ("2026-07-01", "b", 4)]
    chart = chart_of(ask("LIVE_VIEWERS", "DAY CHANNEL_SLUG"), rows)
    assert isinstance(chart, LineChart)
    assert {series.name: series.values for series in chart.series} == {"a": (3, 9), "b": (4, None)}


def test_a_rate_of_several_rows_is_rounded_once() -> None:
    """A share just below the half of its last digit stays below, and so do numbers of more than 28 digits."""
    below_half = Group(2, None, (Decimal(10**31 // 2 - 1), Decimal(10**33)))
    half = Group(2, None, (Decimal(10**31 // 2), Decimal(10**33)))
    rate = Rate(0, (1,), 1, 2)
    assert [str(group.value(rate)) for group in (below_half, half)] == ["0.00", "0.01"]
    assert Group(2, None, (Decimal(1), Decimal(0))).value(rate) is None


def test_a_png_is_the_same_each_time() -> None:
    """Twice as wide as its SVG."""
    chart = LineChart("Views", ("2026-07-01", "2026-07-02"), (Series("Views", (1, 2)),))
    picture = render_png(chart)
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") == 1600
    assert render_png(chart) == picture


@pytest.mark.parametrize("title", ["Crème brûlée", "Видеоклип", "العنوان بالعربية", "動画のタイトル", "🎬"])
def test_a_title_leaves_a_mark_in_the_picture(title: str) -> None:
    """Its letters, or a box for each that no font has: never nothing."""
    assert render_png(BarChart("Views", (Bar(title, 3),))) != render_png(BarChart("Views", (Bar("\u200b", 3),)))


def test_a_machine_without_fonts_draws_no_text() -> None:
    """The renderer leaves texts out then; where it draws letters, PNG is offered."""
    assert not draws_texts(without_fonts=True)
    assert draws_texts()
    assert explain_absence() is None


@pytest.mark.parametrize("cell", ["a few", "NaN", "Infinity"])
def test_a_cell_that_is_no_number_is_told(cell: str) -> None:
    """It would be a place outside of the picture."""
    with pytest.raises(UsageError, match=f"'{cell}' is no number to draw"):
        read_groups(["day", "views"], [("2026-07-01", cell)], ["day"], ["views"], None)

"""Draws views of the explorer: of any metrics that go together, with what goes with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from hypothesis import strategies as some

from reelport.catalog import Dimension, Filter, Grain, Metric, Product
from reelport.catalog.labels import DIMENSION_GROUPS
from reelport.check import Rules, allowed_with
from reelport.facts.log.freshness import COUNTED, Freshness
from reelport.query import ReportQuery
from reelport.server.explore.view import Sort, View
from reelport.server.explore.view_days import Comparison, default_grain, explain_grain
from reelport.server.explore.view_parameters import Defaults

Values = Callable[[Filter], some.SearchStrategy[str]]
Cells = Callable[[Dimension], some.SearchStrategy[str]]

RULES = Rules()
LONG = Rules(days=100_000)  # of a view, which may have more days than a report
TODAY = date(2026, 3, 31)
COMPLETE = {"plays": date(2026, 3, 30), "earnings": date(2026, 3, 25), "ads": date(2026, 3, 29)}
FRESHNESS = {table: Freshness(table, COMPLETE.get(table), None) for table in COUNTED}
DEFAULTS = Defaults((Metric.VIEWS,), (Dimension.VIDEO_ID,), FRESHNESS, TODAY)


def open_values(_: Filter | Dimension) -> some.SearchStrategy[str]:
    """Any text that a filter may compare with: the empty one too."""
    return some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@some.composite
def views(
    draw: some.DrawFn,
    values: Values = open_values,
    last: date = TODAY,
    longest: int = RULES.days,
    back: int = 400,
    cells: Cells = open_values,
    *,
    searches: bool = True,
) -> View:
    """A view that keeps all rules, over up to `longest` days that end up to `back` days before `last`.

    `values` draws the value of a filter that takes any text, `cells` the cell of a dimension that the view is narrowed
    to.
    """
    metrics = [draw(some.sampled_from(list(Metric)))]
    for _ in range(draw(some.integers(0, 2))):
        fitting = allowed_with(_ask(metrics, [], {}), RULES).metrics
        metrics.append(draw(some.sampled_from(fitting)))
    dimensions: list[Dimension] = []
    for _ in range(draw(some.integers(0, 3))):
        rows = [row for row in allowed_with(_ask(metrics, dimensions, {}), RULES).dimensions if row.grain is None]
        dimensions += [draw(some.sampled_from(rows))] if rows else []
    kept: dict[Dimension, list[str]] = {}
    for _ in range(draw(some.sampled_from((0, 0, 1, 2)))):
        asked = _ask(metrics, [*dimensions, *kept], {})
        narrowing = [*dimensions, *(row for row in allowed_with(asked, RULES).dimensions if row.grain is None)]
        for each in draw(some.lists(some.sampled_from(narrowing), max_size=1)):
            kept[each] = draw(some.lists(cells(each), min_size=1, max_size=2, unique=True))
    filters: dict[Filter, str] = {}
    for row in allowed_with(_ask(metrics, [*dimensions, *kept], {}), RULES).filters:
        if draw(some.integers(0, 3)) == 0:
            filters[row] = draw(some.sampled_from(row.choices) if row.choices else values(row))
    days = draw(some.integers(1, longest))
    end = last - timedelta(draw(some.integers(0, back)))
    comparison = draw(some.sampled_from(Comparison))
    sorts = [sort for sort in Sort if sort is not Sort.CHANGE or comparison is not Comparison.NONE]
    longer = draw(some.sampled_from([None, *dimensions]))
    picked = draw(some.sampled_from([None, *dimensions])) if searches else None
    return View(
        tuple(row for row in Metric if row in metrics),
        tuple(row for rows in DIMENSION_GROUPS.values() for row in rows if row in dimensions),
        end - timedelta(days - 1),
        end,
        draw(some.sampled_from(metrics)),
        draw(some.sampled_from([default_grain(days), *list_grains(metrics, days)])),
        tuple((row, filters[row]) for row in Filter if row in filters),
        draw(some.sampled_from(Product)),
        comparison,
        draw(some.sampled_from(sorts)),
        reverse=draw(some.booleans()),
        longer=longer,
        picked=picked,
        search=draw(some.sampled_from(("", "x", "é '%"))) if picked else "",
        kept=tuple((row, cell) for row in Dimension for cell in kept.get(row, ())),
    )


def list_grains(metrics: list[Metric], days: int) -> list[Grain]:
    """The grains that lines of these metrics can go by."""
    grains = (grain for grain in Grain if grain is not Grain.MINUTE)
    return [grain for grain in grains if explain_grain(grain, days, metrics, RULES) is None]


def _ask(metrics: list[Metric], dimensions: list[Dimension], filters: dict[str, str]) -> ReportQuery:
    return ReportQuery.of(metrics, ["DAY", *dimensions], TODAY, TODAY, filters)

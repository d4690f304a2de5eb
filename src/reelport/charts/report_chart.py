"""Chooses the chart that suits a report by its shape, and makes it of the report's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from reelport.additivity import plan_cell
from reelport.catalog import Dimension, Grain, Metric, Product, Unit
from reelport.charts.chart_labels import cut_to_room, make_label, name_as_heading, name_in_sentence
from reelport.charts.chart_types import Bar, BarChart, Chart, LineChart, Series, SmallMultiples
from reelport.charts.groups import Formula, Groups, list_places, list_times, roll_up
from reelport.charts.time_axis import GRAIN_WORDS, count_settled, describe_time, list_partial
from reelport.query import ReportQuery
from reelport.wording import format_list

MOST_TIMES = 400
"""With more times they are rolled up, or the last ones drawn."""

MOST_BARS = 20
MOST_PANELS = 12
_FILTER_ROOM = 420


@dataclass(frozen=True, slots=True)
class NoChart:
    """Why a report has no chart, as a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class ChartPlan:
    """The chart of a report: a metric by a time, by a category, or by both.

    `formula` says how rows of the same time and category add up; None where there is one row of each at most.
    """

    query: ReportQuery
    metric: str
    time: str | None
    category: str | None
    formula: Formula

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the report by which rows are grouped."""
        return tuple(name.lower() for name in (self.time, self.category) if name is not None)

    @property
    def sums(self) -> tuple[str, ...]:
        """The columns of the report whose sums the formula needs."""
        return tuple(self.query.metrics[place].lower() for place in list_places(self.formula))

    @property
    def unit(self) -> Unit | None:
        """The metric's unit; None for a metric that this version doesn't know."""
        row = Metric.__members__.get(self.metric)
        return None if row is None else row.unit

    def draw(self, groups: Groups, last_complete: date | None = None, *, moving: bool = False) -> Chart:
        """Return the chart of the report's grouped rows.

        With `moving`, times after the last complete day are marked as such whose numbers may still change.
        """
        if self.time is None:
            return self._draw_bars(groups)
        times = fit_times(groups, self._grain, MOST_TIMES, filled=True)
        settled = self._count_settled(times, last_complete) if moving else None
        return self._draw_lines(times, settled) if self.category is None else self._draw_multiples(times, settled)

    @property
    def _grain(self) -> Grain:
        return find_grain(self.time) or Grain.DAY

    def _count_settled(self, times: Times, last_complete: date | None) -> int:
        return count_settled(times.labels, times.grain, last_complete, self.query.end)

    def _draw_lines(self, times: Times, settled: int | None) -> LineChart:
        values = {key[0]: value for key, value in times.groups.list_values()}
        series = Series(name_as_heading(self.metric), tuple(values.get(label) for label in times.labels))
        heading = head_times(self.metric, times)
        return LineChart(heading, times.labels, (series,), self.unit, times.grain, settled, self._note(times))

    def _draw_multiples(self, times: Times, settled: int | None) -> SmallMultiples:
        values = dict(times.groups.list_values())
        chosen, many = _choose_largest(times.groups)
        series = tuple(
            Series(make_label(name), tuple(values.get((label, name)) for label in times.labels)) for name in chosen
        )
        what = (
            f"{name_as_heading(self.metric)} by {GRAIN_WORDS[times.grain]} and {name_in_sentence(self.category or '')}"
        )
        heading = f"{what}, the largest {len(chosen)} of {many:,}" if many > len(chosen) else what
        heading = f"{heading}{times.tell_left_out()}"
        return SmallMultiples(heading, times.labels, series, self.unit, times.grain, settled, self._note(times))

    def _draw_bars(self, groups: Groups) -> BarChart:
        return draw_largest(groups, self.metric, self.category or "", list_query_notes(self.query))

    def _note(self, times: Times) -> tuple[str, ...]:
        return (*list_query_notes(self.query), *times.list_notes(self.query.start, self.query.end))


@dataclass(frozen=True, slots=True)
class Times:
    """The times that a chart shows, of how many, their grain, and the groups of rows by them."""

    labels: tuple[str, ...]
    many: int
    grain: int
    groups: Groups

    def tell_left_out(self) -> str:
        """Say how many times are shown where they are not all; empty where they are."""
        return f", the last {len(self.labels):,} of {self.many:,}" if self.many > len(self.labels) else ""

    def list_notes(self, start: date, end: date) -> tuple[str, ...]:
        """Say of which months or years only a part was asked for."""
        partial = list_partial(self.labels, self.grain, start, end)
        return (f"Of {' and '.join(partial)} only a part was asked for.",) if partial else ()


def plan_report_chart(query: ReportQuery) -> ChartPlan | NoChart:
    """Plan the chart of a report's first metric: by time, by its first category, or by both."""
    if not query.metrics or not query.dimensions:
        return NoChart("A chart needs a metric and a dimension.")
    times = [name for name in query.dimensions if find_grain(name) is not None]
    time = min(times, key=lambda name: find_grain(name) or Grain.DAY, default=None)
    category = next((name for name in query.dimensions if name not in times), None)
    others = [name for name in query.dimensions if name not in {*times, category}]
    return plan_chart_by(query, time, category, others)


def plan_chart_by(
    query: ReportQuery, time: str | None, category: str | None, others: Sequence[str]
) -> ChartPlan | NoChart:
    """Plan the chart of a report's first metric by a time, a category or both.

    Rows are added up over the other dimensions.
    """
    metric = query.metrics[0]
    formula = plan_cell(query, metric)
    rows = [Dimension.__members__.get(name) for name in others]
    if others and (formula is None or any(row is not None and row.many_valued for row in rows)):
        kept = format_list([name for name in (time, category) if name is not None])
        over = "the other dimensions" if len(others) > 1 else others[0]
        return NoChart(f"{metric} doesn't add up over {over}; ask for it by {kept} alone.")
    return ChartPlan(query, metric, time, category, formula)


def fit_times(groups: Groups, grain: Grain, most: int, *, filled: bool) -> Times:
    """Fit at most `most` times: coarser ones where rows add up, else the last."""
    coarser, rolled = roll_up(groups, grain, most, filled=filled)
    labels = list_times(rolled, coarser, filled=filled)
    return Times(tuple(labels[-most:]), len(labels), coarser, rolled)


def head_times(metric: str, times: Times) -> str:
    """Return the heading of a metric by time."""
    return f"{name_as_heading(metric)} by {GRAIN_WORDS[times.grain]}{times.tell_left_out()}"


def draw_largest(groups: Groups, metric: str, category: str, notes: Sequence[str] = ()) -> BarChart:
    """Return the bars of a metric's largest categories; those without a number come last."""
    values = [(key[0], value) for key, value in groups.list_values()]
    values.sort(key=lambda each: (each[1] is None, -(each[1] or 0), each[0]))
    by = f"by {name_in_sentence(category)}"
    heading = f"{name_as_heading(metric)} {by}"
    many = groups.many or len(values)
    if many > MOST_BARS:
        heading = f"Top {MOST_BARS} of {many:,}: {name_in_sentence(metric)} {by}"
    row = Metric.__members__.get(metric)
    bars = tuple(Bar(make_label(label), value) for label, value in values[:MOST_BARS])
    return BarChart(heading, bars, None if row is None else row.unit, notes=tuple(notes))


def list_query_notes(query: ReportQuery, kept: Iterable[tuple[str, str]] = ()) -> tuple[str, ...]:
    """Say which days, whose numbers, filters and `kept` cells a chart is of, a line each."""
    days = [describe_time(str(day)) for day in dict.fromkeys([query.start, query.end])]
    product = Product.__members__.get(query.product)
    about = f"{' to '.join(days)} (UTC), {query.product if product is None else product.phrase}"
    filters = [f"{name} = {cut_to_room(make_label(value), _FILTER_ROOM)}" for name, value in (*query.filters, *kept)]
    return (about, *filters)


def find_grain(name: str | None) -> Grain | None:
    """Return a dimension's grain; None for one that is no time."""
    row = Dimension.__members__.get(name or "")
    return None if row is None else row.grain


def _choose_largest(groups: Groups) -> tuple[list[str], int]:
    """Choose the categories with the largest sums, or largest numbers without; count all."""
    merged = groups.merge_keys(lambda key: key[1:])
    largest: dict[str, Decimal] = {}
    if groups.formula is None:
        for key, value in groups.list_values():
            largest[key[1]] = max(largest.get(key[1], Decimal(0)), value or Decimal(0))
    else:
        largest = {key[0]: value or Decimal(0) for key, value in merged.list_values()}
    return sorted(largest, key=lambda name: (-largest[name], name))[:MOST_PANELS], groups.many or len(largest)

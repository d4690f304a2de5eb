"""The chart that suits a report by its shape, made of the report's rows as they add up."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

from reelport.additivity import Added, Rate, plan_cell
from reelport.catalog import Dimension, Filter, Grain, Metric, Product, Unit, round_ratio
from reelport.catalog.labels import capitalize, label_dimension, label_metric, label_value, spell_name
from reelport.charts.chart_types import MOST_LINES, Bar, BarChart, Chart, LineChart, Series
from reelport.charts.svg import cut_to_room
from reelport.charts.time_axis import (
    GRAIN_WORDS,
    LABEL_LENGTHS,
    MOST_FILLED,
    count_settled,
    describe_partial,
    fill_times,
)
from reelport.language import N_, _, localize
from reelport.query import ReportQuery
from reelport.wording import clean_line, format_days, format_list

Key = tuple[str, ...]  # what rows have in common: a time or a category, or a time and a category

Number = int | Decimal

# How to compute the metric for several rows, from the report's columns by index; None where rows don't add up.
Formula = Added | Rate | None

MOST_TIMES = 400  # with more times they are rolled up, or the last ones drawn
MOST_BARS = 20
_FILTER_ROOM = 420


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one label: their count, the last one's number, the sums of formula columns."""

    rows: int
    own: Decimal | None
    sums: tuple[Decimal, ...]

    def __add__(self, other: Group) -> Group:
        sums = tuple(one + another for one, another in zip(self.sums, other.sums, strict=True))
        return Group(self.rows + other.rows, other.own, sums)

    def value(self, formula: Formula) -> Decimal | None:
        """Return the metric's value over all rows; for a single row its own number."""
        if self.rows == 1 or formula is None:
            return self.own
        if isinstance(formula, Added):
            return self.sums[0]
        whole = round_ratio(self.sums[0], sum(self.sums[1:], Decimal()), formula.scale, formula.digits)
        return None if whole is None else Decimal(whole).scaleb(-formula.digits)


Groups = Mapping[Key, Group]
"""A report's rows by key, in its order."""


def read_groups(rows: Iterable[Sequence[Any]], width: int) -> Groups:
    """Read rows that were summed by an engine.

    Each has the cells of its key, `width` of them, then a count of rows, the number of one of them, and the sums.
    """
    return {
        tuple([str(cell or "") for cell in row[:width]]): make_group(row[width], row[width + 1], *row[width + 2 :])
        for row in rows
    }


def _merge_keys(groups: Groups, change: Callable[[Key], Key]) -> Groups:
    merged: dict[Key, Group] = {}
    for key, group in groups.items():
        other = change(key)
        merged[other] = merged[other] + group if other in merged else group
    return merged


def list_places(formula: Formula) -> tuple[int, ...]:
    """List the report's metrics, by number, whose sums a formula needs."""
    match formula:
        case None:
            return ()
        case Added(column):
            return (column,)
        case Rate(numerator, denominator):
            return (numerator, *denominator)


def make_group(rows: int, own: Number | None, *sums: Number | None) -> Group:
    """Make a group of so many rows; a sum of no number is 0."""
    return Group(rows, None if own is None else Decimal(own), tuple(Decimal(each or 0) for each in sums))


@dataclass(frozen=True, slots=True)
class NoChart:
    """Why a report has no chart, as a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class ChartPlan:
    """The chart of a report: a metric by a time, by a category, or by both.

    `formula` says how rows of the same time and category add up; None where there is one row of each at most. `titles`
    are those of categories that are ids, where the report has them.
    """

    query: ReportQuery
    metric: str
    time: str | None
    category: str | None
    formula: Formula
    titles: Mapping[str, str] = field(default_factory=dict)

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

    def list_values(self, groups: Groups) -> list[tuple[Key, Decimal | None]]:
        """Return the metric's value for each key; None where a rate has nothing to divide by."""
        return [(key, group.value(self.formula)) for key, group in groups.items()]

    def draw(
        self, groups: Groups, last_complete: date | None = None, *, moving: bool = False, many: int | None = None
    ) -> Chart:
        """Draw the grouped rows; with `moving`, times after the last complete day are marked.

        `many` is how many categories the report has, where the groups are of its largest alone.
        """
        if self.time is None:
            return self.draw_largest(groups, list_query_notes(self.query), many)
        times = self.fit_times(groups, MOST_TIMES, filled=True)
        settled = count_settled(times.labels, times.grain, last_complete, self.query.end) if moving else None
        notes = (
            *list_query_notes(self.query),
            *describe_partial(times.labels, times.grain, self.query.start, self.query.end),
        )
        heading, values = self.head_times(times), dict(self.list_values(times.groups))
        numbers = {"": tuple(values.get((label,)) for label in times.labels)}
        names = {"": name_as_heading(self.metric)}
        if self.category is not None:
            chosen, known = self._rank_categories(times.groups)
            many = many or known
            numbers = {name: tuple(values.get((label, name)) for label in times.labels) for name in chosen}
            names = self._name_categories(chosen)
            by = format_list([_(GRAIN_WORDS[times.grain]), name_in_sentence(self.category)])
            largest = _(", the largest %(shown)s of %(number)s", shown=len(chosen), number=localize(f"{many:,}"))
            largest = largest if many > len(chosen) else ""
            heading = f"{_head(name_as_heading(self.metric), by)}{largest}{times.tell_left_out()}"
        series = tuple(Series(names[key], found) for key, found in numbers.items())
        return LineChart(heading, times.labels, series, self.unit, times.grain, settled, notes)

    def head_times(self, times: Times) -> str:
        """Return the heading of the metric by time."""
        return f"{_head(name_as_heading(self.metric), _(GRAIN_WORDS[times.grain]))}{times.tell_left_out()}"

    def draw_largest(self, groups: Groups, notes: tuple[str, ...] = (), many: int | None = None) -> BarChart:
        """Draw the bars of the largest categories; those without a number come last."""
        values = [(key[0], value) for key, value in self.list_values(groups)]
        values.sort(key=lambda each: (each[1] is None, -(each[1] or 0), each[0]))
        by, many = name_in_sentence(self.category or ""), many or len(values)
        heading = _head(name_as_heading(self.metric), by)
        if many > MOST_BARS:
            heading = _(
                "Top %(shown)s of %(number)s: %(heading)s",
                shown=MOST_BARS,
                number=localize(f"{many:,}"),
                heading=_head(name_in_sentence(self.metric), by),
            )
        names = self._name_categories([label for label, _value in values[:MOST_BARS]])
        bars = tuple(Bar(names[label], value) for label, value in values[:MOST_BARS])
        return BarChart(heading, bars, self.unit, notes)

    def fit_times(self, groups: Groups, most: int, *, filled: bool) -> Times:
        """Fit at most `most` times: of a coarser grain where rows add up, else the last.

        `filled` counts and lists times without rows too.
        """
        grain = find_grain(self.time) or Grain.DAY
        count, labels = _list_times(groups, grain, filled=filled)
        for coarser, length in LABEL_LENGTHS.items() if count > most and self.formula is not None else ():
            if coarser <= grain:
                continue
            end = ":00:00Z" if coarser == Grain.HOUR else ""
            rolled = _merge_keys(groups, partial(_cut_time, length, end))
            count, rolled_labels = _list_times(rolled, coarser, filled=filled)
            if 1 < count <= most:
                return Times(tuple(rolled_labels), len(rolled_labels), coarser, rolled)
        return Times(tuple(labels[-most:]), len(labels), grain, groups)

    def _name_categories(self, cells: Iterable[str]) -> dict[str, str]:
        titles = {cell: make_label(title) for cell, title in self.titles.items()}
        return tell_apart({cell: titles.get(cell) or _name_value(self.category, cell) for cell in cells})

    def _rank_categories(self, groups: Groups) -> tuple[list[str], int]:
        largest: dict[str, Decimal] = {}
        if self.formula is None:
            for key, value in self.list_values(groups):
                largest[key[1]] = max(largest.get(key[1], Decimal(0)), value or Decimal(0))
        else:
            merged = _merge_keys(groups, lambda key: key[1:])
            largest = {key[0]: value or Decimal(0) for key, value in self.list_values(merged)}
        return sorted(largest, key=lambda name: (-largest[name], name))[:MOST_LINES], len(largest)


@dataclass(frozen=True, slots=True)
class Times:
    """The times that a chart shows, of how many, their grain, and the groups of rows by them."""

    labels: tuple[str, ...]
    many: int
    grain: int
    groups: Groups

    def tell_left_out(self) -> str:
        """Say how many times are shown where they are not all; empty where they are."""
        shown, number = (localize(f"{each:,}") for each in (len(self.labels), self.many))
        left_out = self.many > len(self.labels)
        return _(", the last %(shown)s of %(number)s", shown=shown, number=number) if left_out else ""


def plan_report_chart(query: ReportQuery) -> ChartPlan | NoChart:
    """Plan the chart of a report's first metric: by time, by its first category, or by both."""
    if not query.metrics or not query.dimensions:
        return NoChart(_("A chart needs a metric and a dimension."))
    times = [name for name in query.dimensions if find_grain(name) is not None]
    time = min(times, key=lambda name: find_grain(name) or Grain.DAY, default=None)
    category = next((name for name in query.dimensions if name not in times), None)
    others = [name for name in query.dimensions if name not in {*times, category}]
    return plan_chart_by(query, time, category, others)


def plan_chart_by(
    query: ReportQuery, time: str | None, category: str | None, others: Sequence[str]
) -> ChartPlan | NoChart:
    """Plan the chart of the first metric by a time, a category or both, summed over `others`."""
    metric = query.metrics[0]
    formula = plan_cell(query, metric)
    rows = [Dimension.__members__.get(name) for name in others]
    if others and (formula is None or any(row is not None and row.many_valued for row in rows)):
        kept = format_list([name for name in (time, category) if name is not None])
        over = _("the other dimensions") if len(others) > 1 else others[0]
        sentence = N_("%(metric)s doesn't add up over %(dimensions)s; ask for it by %(kept)s alone.")
        return NoChart(_(sentence, metric=metric, dimensions=over, kept=kept))
    return ChartPlan(query, metric, time, category, formula)


def _cut_time(length: int, end: str, key: Key) -> Key:
    return (key[0][:length] + end, *key[1:])


def _list_times(groups: Groups, grain: int, *, filled: bool) -> tuple[int, list[str]]:
    known = sorted({key[0] for key in groups})
    times = fill_times(known, grain) if filled else []
    shown = times if set(known) <= set(times) and len(times) <= MOST_FILLED else known
    return max(len(known), len(times)), shown


def _head(metric: str, by: str) -> str:
    return _("%(metrics)s by %(dimensions)s", metrics=metric, dimensions=by)


def name_in_sentence(name: str) -> str:
    """Return a metric's or dimension's wire name as words inside a sentence."""
    if name in Metric.__members__:
        return label_metric(Metric[name])
    return label_dimension(Dimension[name]) if name in Dimension.__members__ else spell_name(name)


def name_as_heading(name: str) -> str:
    """Return a wire name as a heading: Watch time, eCPM (EUR)."""
    return capitalize(name_in_sentence(name))


def make_label(text: str) -> str:
    """Turn an untrusted text into a line without control characters; a word for an empty one."""
    return re.sub(r"\s+", " ", clean_line(unicodedata.normalize("NFC", text))).strip() or _("Unknown")


def tell_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Add its cell to each name that several cells have, such as the title of two videos."""
    counts = Counter(names.values())
    return {cell: name if counts[name] == 1 else f"{name} ({cell})" for cell, name in names.items()}


def _name_value(dimension: str | None, cell: str) -> str:
    """Name a cell of a dimension on one line: Phone for `mobile`."""
    row = Dimension.__members__.get(dimension or "")
    return make_label(label_value(row, cell) if row else cell)


def list_query_notes(query: ReportQuery, kept: Iterable[tuple[str, str]] = ()) -> tuple[str, ...]:
    """Say which days, whose numbers, filters and `kept` cells a chart is of, a line each."""
    product = Product.__members__.get(query.product)
    about = f"{format_days(query.start, query.end)} (UTC), {query.product if product is None else _(product.phrase)}"
    rows = {row.name: row.dimension.name for row in Filter}
    limits = [(rows.get(name, name), value) for name, value in (*query.filters, *kept)]
    return (
        about,
        *(f"{name_as_heading(name)}: {cut_to_room(_name_value(name, value), _FILTER_ROOM)}" for name, value in limits),
    )


def find_grain(name: str | None) -> Grain | None:
    """Return a dimension's grain; None for one that is no time."""
    row = Dimension.__members__.get(name or "")
    return None if row is None else row.grain

"""View, a frozen value of all that a page of the explorer shows.

It stands for a report, and is parsed from a URL by `explore.view_parameters`. Its URL has days, so that its link shows
the same to whoever opens it later; beside them the name of the range that was chosen, by which a saved view moves on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from urllib.parse import urlencode

from reelport.catalog import Dimension, Filter, Grain, Metric, Product
from reelport.catalog.labels import label_dimension, label_value
from reelport.language import _
from reelport.query import ReportQuery, describe_query
from reelport.server.explore.view_days import WEEK, Comparison, Preset, a_year_before, default_grain, time_dimension
from reelport.wording import clean_line, format_choice, format_list

KeptCells = tuple[tuple[Dimension, str], ...]  # cells, the empty one as the empty text; several of a dimension: any
NONE = "none"  # stands in the URL for no leaderboards: a URL that names none has the default ones
Pairs = tuple[tuple[str, str], ...]  # pairs of a URL query, in order; a name may come several times


class Sort(StrEnum):
    """What the values of a leaderboard are sorted by, the highest first."""

    VALUE = "value"
    SHARE = "share"
    CHANGE = "change"  # the difference from the compared days; its percentage is highest where numbers are small


class Parameter(StrEnum):
    """The name of a parameter of the URL. Filters have their own names.

    EMPTY names filters that keep empty cells, KEPT a dimension and its cell: `VISITOR_COUNTRY:FR`. PRESET stands for
    the days that it has when its link is followed; beside days it says that they were chosen by it. DAY stands for one
    day in place of others, beside the same weekday before it, and for what changed first.
    """

    METRIC = "metric"
    DIMENSION = "by"
    DAY = "day"
    START = "from"
    END = "to"
    PRODUCT = "product"
    COMPARISON = "compare"
    SORT = "sort"
    RANKED_BY = "rank"
    EMPTY = "empty"
    KEPT = "only"
    REVERSE = "reverse"
    SEARCH = "search"
    GRAIN = "grain"
    LONGER = "longer"
    PICKED = "pick"
    PRESET = "range"
    SHARES = "shares"


# The parameters that a URL may have several of; of each other one the last counts.
SEVERAL = (Parameter.METRIC, Parameter.DIMENSION, Parameter.EMPTY, Parameter.KEPT)


@dataclass(frozen=True, slots=True)
class View:
    """What a page of the explorer shows.

    `metrics` and `dimensions`, its leaderboards, are in the order of the lists that they are chosen from.
    `ranked_by` is the metric that leaderboards are sorted by, `reverse` puts their lowest values first, and
    `longer` is the leaderboard that shows more rows than the others. `picked` is the dimension whose values are
    listed to choose from: those with `search` in their value or title. `grain`, one of HOUR to MONTH, is that of
    the lines. `filters` are in the order of the catalog. `kept` narrows the view by cells that no filter of a
    report takes: in the order of the catalog too, and of a dimension any of several cells. `preset` is the range
    that the days were chosen by; None for days that were typed, and where it has other days by now. `shares` is the
    leaderboard whose shares are drawn over time. One that `is_whole` has all rows of its leaderboards, those of the
    compared days alone, too: no URL asks for that.
    """

    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]
    start: date
    end: date
    ranked_by: Metric
    grain: Grain
    filters: tuple[tuple[Filter, str], ...] = ()
    product: Product = Product.CONTENT
    comparison: Comparison = Comparison.NONE
    sort: Sort = Sort.VALUE
    reverse: bool = False
    longer: Dimension | None = None
    kept: KeptCells = ()
    preset: Preset | None = None
    picked: Dimension | None = None
    search: str = ""
    shares: Dimension | None = None
    is_whole: bool = False

    @property
    def days(self) -> int:
        """How many days the view covers."""
        return (self.end - self.start).days + 1

    @property
    def time(self) -> Dimension:
        """The dimension of time of the report: days for lines by week."""
        return time_dimension(self.grain)

    @property
    def compares_lines(self) -> bool:
        """Whether the lines have compared ones.

        A time is compared only with one of its kind and length: a week with a week.
        """
        if self.compared_days is None:
            return False
        match self.grain:
            case Grain.WEEK:
                return (self.start - self.compared_days[0]).days % WEEK == 0
            case Grain.MONTH:
                return self.comparison is Comparison.YEAR
            case _:
                return True

    @property
    def compared_days(self) -> tuple[date, date] | None:
        """The first and last of the compared days; None without a comparison."""
        return self.comparison.find_days(self.start, self.end)

    def compared_time(self, time: date) -> date:
        """The time of the compared days that a time on the lines is compared with."""
        if self.comparison is Comparison.YEAR and self.grain is not Grain.WEEK:
            return a_year_before(time)
        return time if self.compared_days is None else time - (self.start - self.compared_days[0])

    def report_query(self) -> ReportQuery:
        """The query of the report that this view stands for, whatever it is compared with.

        Its rows are finer than what the view shows: those with the kept cells are of the view, the dimensions of
        these come last.
        """
        kept = (dimension for dimension, _ in self.kept)
        return self.query(tuple(dict.fromkeys((self.time, *self.dimensions, *kept))))

    def query(self, dimensions: tuple[Dimension, ...], days: tuple[date, date] | None = None) -> ReportQuery:
        """The query of one part of the view, without the kept cells.

        `days` are others than its own.
        """
        start, end = days or (self.start, self.end)
        filters = {filter_.name: value for filter_, value in self.filters}
        return ReportQuery.of(self.metrics, dimensions, start, end, filters, self.product)

    def sentence(self) -> str:
        """Say which report the view stands for, and what it shows of it, without a full stop."""
        kept = [
            f"{label_dimension(row)} {format_choice([name_cell(row, cell) for cell in cells])}"
            for row, cells in self.kept_by_dimension().items()
        ]
        said = describe_query(self.report_query())
        return _("%(query)s, of %(cells)s alone", query=said, cells=format_list(kept)) if kept else said

    def kept_by_dimension(self) -> dict[Dimension, list[str]]:
        """The kept cells of each dimension that the view is narrowed by."""
        cells: dict[Dimension, list[str]] = {}
        for dimension, cell in self.kept:
            cells.setdefault(dimension, []).append(cell)
        return cells

    def keep(self, dimension: Dimension, cells: Iterable[str]) -> View:
        """Copy the view, narrowed to rows with any of these cells of a dimension.

        Without a cell it is not narrowed by that dimension.
        """
        kept = {**self.kept_by_dimension(), dimension: list(dict.fromkeys(cells))}
        return replace(self, kept=tuple((row, cell) for row in Dimension for cell in kept.get(row, ())))

    def release(self, dimension: Dimension) -> View:
        """Copy the view, narrowed by nothing of this dimension."""
        filters = tuple(pair for pair in self.filters if pair[0].dimension is not dimension)
        return replace(self.keep(dimension, ()), filters=filters)

    def list_picked(self) -> View | None:
        """The view whose one leaderboard has the values to choose from, the largest first."""
        if self.picked is None:
            return None
        listed = replace(self.release(self.picked), dimensions=(self.picked,), longer=self.picked)
        return replace(listed, comparison=Comparison.NONE, sort=Sort.VALUE, reverse=False)

    def without_picking(self) -> View:
        """The view that lists no values to choose from."""
        return replace(self, picked=None, search="")

    def params(self) -> Pairs:
        """The canonical parameters of the view's URL: what is by default so is left out."""
        pairs: list[tuple[str, str]] = [(Parameter.METRIC, metric.name) for metric in self.metrics]
        by = [dimension.name for dimension in self.dimensions] or [NONE]
        pairs += [(Parameter.DIMENSION, name) for name in by]
        pairs += [(Parameter.START, self.start.isoformat()), (Parameter.END, self.end.isoformat())]
        pairs += [(Parameter.PRESET, self.preset.word)] if self.preset else []
        # A form sends an empty text for a filter that nobody set: one that keeps empty cells is named on its own.
        pairs += [
            (filter_.name, value) if value else (Parameter.EMPTY, filter_.name) for filter_, value in self.filters
        ]
        pairs += [(Parameter.KEPT, f"{dimension.name}:{cell}") for dimension, cell in self.kept]
        optional = (
            (Parameter.PRODUCT, self.product.name, self.product is not Product.CONTENT),
            (Parameter.COMPARISON, self.comparison.value, self.comparison is not Comparison.NONE),
            (Parameter.SORT, self.sort.value, self.sort is not Sort.VALUE),
            (Parameter.RANKED_BY, self.ranked_by.name, self.ranked_by is not self.metrics[0]),
            (Parameter.REVERSE, "yes", self.reverse),
            (Parameter.GRAIN, self.grain.name.lower(), self.grain is not default_grain(self.days)),
            (Parameter.LONGER, self.longer.name if self.longer else "", self.longer is not None),
            (Parameter.SHARES, self.shares.name if self.shares else "", self.shares is not None),
            (Parameter.PICKED, self.picked.name if self.picked else "", self.picked is not None),
            (Parameter.SEARCH, self.search, bool(self.search)),
        )
        pairs += [(name, value) for name, value, is_said in optional if is_said]
        return tuple((str(name), value) for name, value in pairs)

    def url_query(self) -> str:
        """The canonical query of the view's URL, without the question mark."""
        return urlencode(self.params())

    def at_its_days(self) -> View:
        """The view at its own days, however they were chosen."""
        return replace(self, preset=None)

    def rolling_query(self) -> str:
        """The query of a URL that moves on: with its range's name in place of its days."""
        days = {Parameter.START, Parameter.END} if self.preset else frozenset[Parameter]()
        return urlencode([pair for pair in self.params() if pair[0] not in days])


def name_cell(dimension: Dimension, cell: str | None) -> str:
    """Name what a cell stands for, on one line: France for FR, a word for an empty one."""
    return label_value(dimension, clean_line(cell)) if cell else _("Unknown")

"""Plan how to merge a query's windows, by the catalog; or give every reason against.

Where a time dimension keeps windows apart, rows are appended or sorted. Elsewhere, rows with equal cells are added up:
additive metrics directly, a rate from its parts, which are asked for beside it and dropped after the merge. Everything
else is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from reelport.additivity import Cell, list_rate_parts, plan_sum
from reelport.catalog import Dimension, Distinct, Grain, Metric, Ratio, Stock
from reelport.check import nearest
from reelport.errors import MergeRefused
from reelport.query import ReportQuery

ADVICE = (
    "Add DAY or MONTH to the dimensions, or leave the windows as files of their own (keep_windows, --keep-windows)."
)


class MergeRule(StrEnum):
    """The rule by which windows are merged into one file."""

    ALONE = "one window is the whole range"
    APPENDED = "windows joined in their order"
    SORTED = "rows put in order; each is in one window"
    SUMMED = "rows of equal cells added up, rates from their parts"


@dataclass(frozen=True, slots=True)
class MergePlan:
    """How to merge: the query for each window, and how to compute the cells of the merged rows.

    Columns of `asked` are those of `query`, then the `silent` ones; `cells` makes the merged metrics from their sums.
    """

    rule: MergeRule
    query: ReportQuery
    asked: ReportQuery
    silent: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()

    @property
    def width(self) -> int:
        """How many columns, from the first, make a row's key."""
        return len(self.query.dimensions)


def needs_whole_months(query: ReportQuery, longest: int) -> bool:
    """Whether windows must end with months, because a month cut in two would give two rows.

    False where the query also has a finer time dimension and the windows are too short for a month.
    """
    grains = _list_grains(query)
    return Grain.MONTH in grains and (longest >= 31 or min(grains) is Grain.MONTH)  # noqa: PLR2004 - a month's days


def plan_merge(query: ReportQuery, *, months: bool, ordered: bool) -> MergePlan:
    """Plan the merge of the query's windows. MergeRefused with every reason.

    `months`: no window ends inside a month; `ordered`: the service sorts rows by their cells.
    """
    kept_apart = [grain for grain in _list_grains(query) if grain < Grain.MONTH or months]
    if not kept_apart:
        return _plan_sums(query)
    way = MergeRule.APPENDED if ordered and _is_time_first(query, months=months) else MergeRule.SORTED
    return MergePlan(way, query, query)


def _is_time_first(query: ReportQuery, *, months: bool) -> bool:
    """Whether every row of a window sorts after all rows of earlier windows."""
    for name in query.dimensions:
        grain = _find_grain(name)
        if grain is None:
            return False
        if grain < Grain.MONTH or months:
            return True
    return False


def _plan_sums(query: ReportQuery) -> MergePlan:
    reasons = [*_list_dimension_obstacles(query), *_list_metric_obstacles(query)]
    if reasons:
        raise MergeRefused("\n".join([*reasons, ADVICE]))
    columns = list(query.metrics)
    cells = tuple(plan_sum(Metric[name], query, columns) for name in query.metrics)
    silent = tuple(columns[len(query.metrics) :])
    return MergePlan(MergeRule.SUMMED, query, replace(query, metrics=tuple(columns)), silent, cells)


def _list_dimension_obstacles(query: ReportQuery) -> Iterator[str]:
    for name in query.dimensions:
        row = Dimension.__members__.get(name)
        if row is None:
            unknown = _describe_unknown(name, Dimension.__members__)
            yield f"{unknown}: whether its rows add up over windows can't be said."
        elif row.many_valued:
            yield f"{name} gives one fact to several rows, and to which may change between two windows' reports."


def _list_metric_obstacles(query: ReportQuery) -> Iterator[str]:
    for name in query.metrics:
        row = Metric.__members__.get(name)
        match row.rule if row else None:
            case None:
                yield f"{_describe_unknown(name, Metric.__members__)}: how it adds up over windows can't be said."
            case Distinct():
                yield f"{name} counts what is different: whatever is in two windows would count twice."
            case Stock():
                yield f"{name} is what there is on one day: days don't add up."
            case Ratio() if row and next(list_rate_parts(row, query), None) is None:
                yield f"{name} is a rate, and the parts that it is made of can't be asked for with this query."


def _describe_unknown(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    meant = f" (did you mean {near}?)" if near else ""
    return f"{name} is not known to this version{meant}"


def _list_grains(query: ReportQuery) -> list[Grain]:
    return [grain for name in query.dimensions if (grain := _find_grain(name)) is not None]


def _find_grain(name: str) -> Grain | None:
    row = Dimension.__members__.get(name)
    return row.grain if row else None

"""Plan a report over any range: windows, their merge, what is there already. Sends nothing.

If a time dimension keeps windows apart, their rows are appended or sorted. Otherwise, rows with equal cells are added
up: additive metrics directly, a rate from its parts. The parts are asked for beside the rate and dropped after the
merge. All other queries are refused with every reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from reelport import check
from reelport.additivity import Cell, list_rate_parts, plan_sum
from reelport.catalog import Dimension, Distinct, Grain, Limit, Metric, Ratio, Stock
from reelport.client.ledger_rows import Row, State
from reelport.client.ranges.windows import LONGEST_MONTH, Window, cut
from reelport.client.session import Session, require_query
from reelport.errors import MergeRefused, QueryRefused, UsageError
from reelport.query import ReportQuery
from reelport.similar_names import nearest

ADVICE = "Add DAY or MONTH to the dimensions, or keep each window as a file (keep_windows, --keep-windows)."


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
            yield f"{name} gives one fact to several rows, and may give it to other rows in the next window."


def _list_metric_obstacles(query: ReportQuery) -> Iterator[str]:
    for name in query.metrics:
        row = Metric.__members__.get(name)
        match row.rule if row else None:
            case None:
                yield f"{_describe_unknown(name, Metric.__members__)}: how it adds up over windows can't be said."
            case Distinct():
                yield f"{name} is a distinct count: one that is in two windows would count twice."
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


_LONGEST_REPORT = timedelta(seconds=Limit.GENERATION_SECONDS.default)


class Standing(StrEnum):
    """How far a window's report is, according to the ledger."""

    TO_ASK = "to be asked for"
    MAKING = "asked for, and being made"
    MADE = "made, and to be downloaded"
    HERE = "here"


@dataclass(frozen=True, slots=True)
class Planned:
    """One window, its query, and the token of the report that serves it, if any."""

    window: Window
    query: ReportQuery
    standing: Standing = Standing.TO_ASK
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A query's windows, oldest first, how many at a time, and how they are merged.

    `way` is the merge rule. If windows can't be merged it is None, and `refusal` says why, and what would work.
    `silent` are metrics that are requested only for the merge and dropped after it.
    """

    query: ReportQuery
    windows: tuple[Planned, ...]
    slots: int
    way: MergeRule | None
    silent: tuple[str, ...] = ()
    refusal: str | None = None

    @property
    def to_make(self) -> int:
        """How many windows' reports the service must still make."""
        return sum(each.standing in {Standing.TO_ASK, Standing.MAKING} for each in self.windows)

    @property
    def longest(self) -> timedelta:
        """The longest time this takes, at two hours a report, the original service's limit."""
        return math.ceil(self.to_make / self.slots) * _LONGEST_REPORT


def plan_range(session: Session, query: ReportQuery) -> Plan:
    """Plan a query over any range; reads only the ledger.

    Raises QueryRefused with every problem but the length.
    """
    check_range_query(session, query)
    windows = cut_windows(query, session.windows)
    try:
        made = build_merge_plan(session, query, windows)
    except MergeRefused as refused:
        planned = _plan_windows(session, query, windows)
        return Plan(query, planned, session.settings.slots, None, refusal=str(refused))
    return Plan(query, _plan_windows(session, made.asked, windows), session.settings.slots, made.rule, made.silent)


def check_range_query(session: Session, query: ReportQuery) -> None:
    """Check a query, but its length. Raises QueryRefused, or UsageError for a wrong type."""
    require_query(query)
    rules = replace(session.rules, days=max(query.days, 1))
    found = check.problems(query, today=session.clock.now().date(), rules=rules)
    if any(problem.fatal for problem in found):
        raise QueryRefused(found)


def cut_windows(query: ReportQuery, longest: int) -> tuple[Window, ...]:
    """Cut a query's range into windows of `longest` days at most.

    Raises UsageError where windows must hold whole months and `longest` is too short for one.
    """
    months = needs_whole_months(query, longest)
    whole = Window(query.start, query.end)
    if months and longest < min(LONGEST_MONTH, whole.days):
        raise UsageError(
            f"A report by months takes windows of at least {LONGEST_MONTH} days, and they are of {longest} "
            "(--window-days, REELPORT_WINDOW_DAYS): set more, or ask for a finer time."
        )
    return cut(whole, longest, months=months)


def build_merge_plan(session: Session, query: ReportQuery, windows: tuple[Window, ...]) -> MergePlan:
    """Build the windows' merge plan, or MergeRefused. Expects sorted rows of a Reelport."""
    if len(windows) == 1:
        return MergePlan(MergeRule.ALONE, query, query)
    months = needs_whole_months(query, session.windows)
    return plan_merge(query, months=months, ordered=session.reelport is not False)


def _plan_windows(session: Session, asked: ReportQuery, windows: tuple[Window, ...]) -> tuple[Planned, ...]:
    found = []
    for window in windows:
        query = asked.within(window.start, window.end)
        row = session.ledger.plan_entry(session.build_question(query))
        found.append(Planned(window, query, _find_standing(row), row.token if row else None))
    return tuple(found)


def _find_standing(row: Row | None) -> Standing:
    match row.state if row else None:
        case State.REQUESTED | State.RUNNING:
            return Standing.MAKING
        case State.VERIFIED if row and row.path and row.path.exists():
            return Standing.HERE
        case State.FINISHED | State.VERIFIED:
            return Standing.MADE
        case _:
            return Standing.TO_ASK

"""Plan a report over any range: windows, merge, what is there already. Sends nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from reelport import check
from reelport.catalog import Limit
from reelport.client.ledger_rows import Row, State
from reelport.client.ranges.merge import MergePlan, MergeRule, needs_whole_months, plan_merge
from reelport.client.ranges.windows import LONGEST_MONTH, Window, cut
from reelport.client.session import Session, require_query
from reelport.errors import MergeRefused, QueryRefused, UsageError
from reelport.query import ReportQuery

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
        case State.DOWNLOADED | State.VERIFIED if row and row.path and row.path.exists():
            return Standing.HERE
        case State.FINISHED | State.DOWNLOADED | State.VERIFIED:
            return Standing.MADE
        case _:
            return Standing.TO_ASK

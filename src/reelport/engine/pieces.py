"""A long report in pieces: plans of a few months each, whose rows one after another are the report's.

A piece needs a fraction of the memory that the whole would, and its rows are on their way to the
disk while the next one is made. What a report says does not depend on how it was cut.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from datetime import date, timedelta

from reelport.catalog import Dimension
from reelport.engine.compile import Plan, compile_query, tables_of
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

Pieces = Generator[Plan, int | None, None]
"""Plans in the order of their rows. Whoever runs them sends how many rows the one before gave, None at first."""

_WORTH = 1_000_000
"""Rows of facts in the report's days, everybody's, below which it is made as one: a piece costs some 4 ms."""
_SIZE = 500_000
"""Rows that a piece should have."""
_MONTH = 30
"""Days of a month, about."""
_LONGEST = 120
"""Months of a piece at most, however few rows they give."""


def single_piece(plan: Plan) -> Pieces:
    """A report that is made at once."""
    yield plan


def plan_pieces(
    query: ReportQuery, tenant: Tenant, snapshot: Snapshot, *, worth: int = _WORTH, size: int = _SIZE
) -> Pieces:
    """The plans of a checked query.

    Where its rows stand in order of time they are those of whole months, as many at a time
    as should give `size` rows, by what the ones before gave: so one with few rows is cut once.
    Months without a row say nothing of the next one, which is then made alone.
    """
    if not _is_in_time_order(query) or _count_facts(query, snapshot) < worth:
        yield compile_query(query, tenant, snapshot)
        return
    start, months = query.start, 1
    while start <= query.end:
        end = min(_find_last_day(start, months), query.end)
        rows = yield compile_query(replace(query, start=start, end=end), tenant, snapshot)
        after = end + timedelta(days=1)
        # By the days of the piece before: the month that a report begins in may be one day long.
        months = min(max(1, size * (after - start).days // (_MONTH * rows)), _LONGEST) if rows else 1
        start = after


def _is_in_time_order(query: ReportQuery) -> bool:
    """Whether rows of different months are never one row, and stand in the order of their months."""
    return bool(query.dimensions) and Dimension[query.dimensions[0]].grain is not None


def _count_facts(query: ReportQuery, snapshot: Snapshot) -> int:
    """The rows of facts in the files of these days, whoever they belong to."""
    tables = (name for name in tables_of(query) if TABLES[name].is_fact)
    return sum(file.rows for name in tables for file in snapshot.listing[name] if file.touches(query.start, query.end))


def _find_last_day(start: date, months: int) -> date:
    """The last day of so many months, of which the day's own is the first."""
    passed = start.year * 12 + start.month - 1 + months
    return date(passed // 12, passed % 12 + 1, 1) - timedelta(days=1)

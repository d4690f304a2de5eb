"""Counts reports day by day: how many were asked for, how they ended, how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate

from sqlalchemy import Engine

from reelport.server.state.database import reading
from reelport.server.state.statements import Statements
from reelport.server.state.tables import to_milliseconds

_SQL = Statements("reports/report_days")
_DAY = timedelta(days=1)
_DAYS = 28  # records of reports are kept for 30 days after their end


@dataclass(frozen=True, slots=True)
class ReportDay:
    """The reports that were asked for on one day (UTC), and how they ended.

    `rows` and `bytes` are those of the finished ones. `most` reports of any day were unfinished at the same time. In
    `median` seconds half of the finished ones had a file after the ask, in `slowest` 95 of 100; None without one.
    """

    day: date
    asked: int
    finished: int
    failed: int
    cancelled: int
    expired: int
    rows: int
    bytes: int
    most: int
    median: float | None = None
    slowest: float | None = None


def read_report_days(db: Engine, now: datetime, organization_id: int | None = None) -> tuple[ReportDay, ...]:
    """Read the reports of the last 28 days, today included, the oldest day first.

    Of one organization, or of all.
    """
    first = now.date() - (_DAYS - 1) * _DAY
    since = datetime.combine(first, time(), UTC)
    # A report may have been asked for before the first day, and have ended in it: its record is no older than this.
    values = {
        "since": to_milliseconds(since),
        "reach": to_milliseconds(since - _DAYS * _DAY),
        "organization": organization_id,
    }
    with reading(db) as connection:
        asked = {row.day: row for row in _SQL.run(connection, "asked", values)}
        waited = {row.day: row for row in _SQL.run(connection, "waited", values)}
        unfinished = {row.day: row for row in _SQL.run(connection, "unfinished", values)}
    days = [first + place * _DAY for place in range(_DAYS)]
    numbers = [to_milliseconds(datetime.combine(day, time(), UTC)) // 86_400_000 for day in days]
    at_begin = [0, *accumulate(unfinished[each].change if each in unfinished else 0 for each in numbers)]
    found = []
    for day, each, before in zip(days, numbers, at_begin, strict=False):
        most = max(before, unfinished[each].most if each in unfinished else 0)
        waits = [milliseconds / 1000 for milliseconds in waited[each][1:]] if each in waited else []
        found.append(ReportDay(*[day, *(asked[each][1:] if each in asked else [0] * 7), most, *waits]))
    return tuple(found)

"""Lists the reports of an organization for its people: newest first, paged by keyset.

It tells a partner why a report failed or waits by the code of the reason. The reason's own text is the operator's: it
may tell paths, addresses and settings of the platform.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, false, func, or_, select

from reelport.engine.tenant import Tenant
from reelport.language import N_
from reelport.query import ReportQuery
from reelport.report_details import State
from reelport.server.access.callers import clean_text
from reelport.server.access.roles import Reach
from reelport.server.queue import report_state
from reelport.server.state.database import reading, sync_commits
from reelport.server.state.tables import JOBS, KEYS, REPORTS, to_milliseconds, to_moment
from reelport.wire import ReportStatus, parse_complete_day

PAGE = 50
"""Reports of one page."""
_CURSOR = re.compile(r"([0-9]{1,15})-([0-9a-z]{1,40})")
_MOST_ASKED = 100_000
"""The reports that are read back at most, the newest."""


class StateFilter(StrEnum):
    """The states that a list shows; FAILED also shows what was cancelled."""

    ALL = N_("all")
    UNFINISHED = N_("unfinished")
    FINISHED = N_("finished")
    FAILED = N_("failed")
    EXPIRED = N_("expired")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last report of a page: the next page begins after it."""

    created_at: datetime
    id: str

    def __str__(self) -> str:
        return f"{to_milliseconds(self.created_at)}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse the text of a cursor; None for any other text."""
        found = _CURSOR.fullmatch(text)
        try:
            return None if found is None else cls(to_moment(int(found[1])), found[2])
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class ListedReport:
    """A report as its organization's people see it.

    `place` is that among the organization's waiting reports, from 1; `due_at` is when a waiting one is tried at the
    earliest. `rows` and `bytes` are those of the file, or those that a running attempt has written so far. `reason`
    says to the partner why it failed, or why it waits after an attempt that did. `asked_by` is the user who asked in
    Studio, None where a key did. `file` is the name of a finished one's file in its store.
    """

    id: str
    asked_by: str | None
    key_id: str
    key_name: str
    query: ReportQuery
    state: State
    place: int | None
    due_at: datetime | None
    reason: str | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    rows: int | None
    bytes: int | None
    last_complete_day: date | None
    file: str | None

    @property
    def seconds(self) -> float | None:
        """How long it took from the ask to its end; None before that."""
        return None if self.ended_at is None else (self.ended_at - self.created_at).total_seconds()


@dataclass(frozen=True, slots=True)
class ReportPage:
    """Reports of one page, and the cursor of the next page; None on the last one."""

    reports: tuple[ListedReport, ...]
    next: Cursor | None

    @property
    def has_unfinished(self) -> bool:
        """Whether a report of the page has yet to end."""
        return not all(report.state.is_final for report in self.reports)


_REPORTS = (
    select(
        REPORTS,
        KEYS.c.name.label("key_name"),
        JOBS.c.number,
        JOBS.c.owner,
        JOBS.c.rows_written,
        JOBS.c.bytes_written,
        JOBS.c.not_before,
        report_state.PLACE,
    )
    .join(KEYS, KEYS.c.id == REPORTS.c.key_id)
    .outerjoin(JOBS, JOBS.c.report_id == REPORTS.c.id)
)


def list_reports(
    db: Engine,
    reach: Reach,
    now: datetime,
    *,
    shown: StateFilter = StateFilter.ALL,
    after: Cursor | None = None,
) -> ReportPage:
    """List a page of the reports within a reach, newest first, those of keys too."""
    wanted = _REPORTS.where(*_list_conditions(shown, now))
    if after is not None:
        # The first condition alone lets the index begin at the cursor.
        wanted = wanted.where(
            REPORTS.c.created_at <= after.created_at,
            or_(REPORTS.c.created_at < after.created_at, REPORTS.c.id < after.id),
        )
    wanted = wanted.order_by(REPORTS.c.created_at.desc(), REPORTS.c.id.desc()).limit(PAGE + 1)
    with reading(db) as connection:
        rows = connection.execute(wanted.where(*_is_within(connection, reach))).all()
    sync_commits(db)  # a report that ended just now may not be on the disk yet
    found = tuple(_make_report(row, now) for row in rows[:PAGE])
    last = Cursor(found[-1].created_at, found[-1].id) if len(rows) > PAGE else None
    return ReportPage(found, last)


def find_listed_report(db: Engine, reach: Reach, report_id: str, now: datetime) -> ListedReport | None:
    """Find a report by its public id; None for an unknown one and for one out of reach."""
    wanted = _REPORTS.where(REPORTS.c.id == clean_text(report_id))
    with reading(db) as connection:
        row = connection.execute(wanted.where(*_is_within(connection, reach))).first()
    sync_commits(db)
    return None if row is None else _make_report(row, now)


def count_by_filter(db: Engine, reach: Reach, now: datetime) -> dict[StateFilter, int]:
    """Count the reports within a reach for each filter."""
    counts = [
        func.count().filter(and_(*_list_conditions(shown, now))).label(shown.value)
        for shown in StateFilter
        if shown is not StateFilter.ALL
    ]
    wanted = select(func.count().label(StateFilter.ALL.value), *counts)
    with reading(db) as connection:
        row = connection.execute(wanted.where(*_is_within(connection, reach))).one()
    sync_commits(db)
    return {shown: getattr(row, shown.value) for shown in StateFilter}


def _is_within(connection: Connection, reach: Reach) -> Iterable[ColumnElement[bool]]:
    """Make the conditions of reports within a reach: of no other channel or scope.

    An organization's reports have few different lists of channels: each is looked at here, once.
    """
    of_organization = REPORTS.c.organization_id == reach.organization_id
    if reach.is_whole:
        return (of_organization,)
    found = connection.execute(select(REPORTS.c.channels, REPORTS.c.scopes).where(of_organization).distinct()).all()
    within = [row for row in found if reach.covers(json.loads(row.channels), row.scopes.split())]
    kinds = [and_(REPORTS.c.channels == row.channels, REPORTS.c.scopes == row.scopes) for row in within]
    return of_organization, or_(false(), *kinds)


def _list_conditions(shown: StateFilter, now: datetime) -> Iterable[ColumnElement[bool]]:
    is_over = REPORTS.c.expires_at <= now
    status = REPORTS.c.status
    match shown:
        case StateFilter.ALL:
            return ()
        case StateFilter.UNFINISHED:
            return status == ReportStatus.IN_PROGRESS.value, ~is_over
        case StateFilter.FINISHED:
            return status == ReportStatus.FINISHED.value, ~is_over
        case StateFilter.FAILED:
            return (status == ReportStatus.FAILED.value,)
        case StateFilter.EXPIRED:
            return (or_(status == ReportStatus.EXPIRED.value, and_(status != ReportStatus.FAILED.value, is_over)),)


def _make_report(row: Row[*tuple[Any, ...]], now: datetime) -> ListedReport:
    state = report_state.find_state(row, now)
    is_running = state is State.RUNNING
    return ListedReport(
        id=row.id,
        asked_by=row.asked_by,
        key_id=row.key_id,
        key_name=row.key_name,
        query=ReportQuery.from_wire(json.loads(row.query)),
        state=state,
        place=row.place if state is State.QUEUED else None,
        due_at=row.not_before if state is State.QUEUED else None,
        reason=_find_reason(row, state),
        created_at=row.created_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        rows=row.rows_written if is_running else row.rows,
        bytes=row.bytes_written if is_running else row.bytes,
        last_complete_day=parse_complete_day(row.last_complete_day),
        file=row.file,
    )


def _find_reason(row: Row[*tuple[Any, ...]], state: State) -> str | None:
    match state:
        case State.FAILED | State.CANCELLED:
            failure = report_state.describe_failure(row.reason_code, row.partner_reason)
            return f"{failure.message} {failure.advice}"
        case State.QUEUED if row.reason is not None:
            return report_state.describe_wait(row.reason_code)
    return None


def list_asked_queries(db: Engine, since: datetime) -> Iterator[tuple[ReportQuery, Tenant]]:
    """List the queries of reports asked for since then, with their tenants; the newest first."""
    asked = select(REPORTS.c.query, REPORTS.c.channels).where(REPORTS.c.created_at >= since)
    with reading(db) as connection:
        rows = connection.execute(asked.order_by(REPORTS.c.created_at.desc()).limit(_MOST_ASKED)).all()
    for row in rows:
        yield ReportQuery.from_wire(json.loads(row.query)), Tenant(frozenset(json.loads(row.channels)))

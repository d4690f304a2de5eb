"""Lists and cancels reports for an operator: which wait, which run, how each ended and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Row, or_, select

from reelport.errors import UsageError
from reelport.query import ReportQuery
from reelport.report_details import Failure, State
from reelport.server.queue import jobs, report_state
from reelport.server.state.database import reading, sync_commits
from reelport.server.state.tables import JOBS, ORGANIZATIONS, REPORTS

CANCELLED = "It was cancelled by an operator."
_MOST_LISTED = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One report, as an operator sees it.

    `state` is that of the last sweep. `place` is its place among the waiting reports of its partner, from 1; a worker
    may claim it from `due_at` on. `reason` says why it failed, or why the last attempt did; `failure` is what its
    partner reads of it. Of the `attempts` that were begun, `failures` ended with an error of the
    report, `deaths` with the death of a worker that made nothing else, and `losses` with a process whose end isn't
    blamed on the report. A `suspect` may have killed a worker that made other reports beside it, and is made alone.
    `waited_for_room` is how many seconds it has waited so far for a full disk.
    """

    id: str
    organization: str
    key: str
    state: State
    place: int | None
    due_at: datetime | None
    attempts: int
    failures: int
    deaths: int
    losses: int
    suspect: bool
    waited_for_room: float
    reason: str | None
    failure: Failure | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    query: ReportQuery
    channels: tuple[str, ...]
    versions: Mapping[str, int] | None
    worker: str | None
    file: str | None
    rows: int | None
    bytes: int | None
    sha256: str | None


_ENTRIES = (
    select(
        REPORTS,
        ORGANIZATIONS.c.name.label("organization"),
        JOBS.c.owner,
        JOBS.c.number,
        JOBS.c.suspect,
        JOBS.c.waited_for_room,
        JOBS.c.not_before,
        report_state.PLACE,
    )
    .join(ORGANIZATIONS, ORGANIZATIONS.c.id == REPORTS.c.organization_id)
    .outerjoin(JOBS, JOBS.c.report_id == REPORTS.c.id)
)


def list_entries(db: Engine, *, unfinished_only: bool = False, most: int = _MOST_LISTED) -> tuple[Entry, ...]:
    """List the `most` newest reports, or of those that wait or run, the newest first."""
    query = _ENTRIES.order_by(REPORTS.c.created_at.desc(), REPORTS.c.id).limit(most)
    if unfinished_only:
        query = query.where(JOBS.c.number.is_not(None))
    with reading(db) as connection:
        rows = connection.execute(query).all()
    sync_commits(db)  # a report that ended just now may not be on the disk yet
    return tuple(map(_make_entry, rows))


def get_entry(db: Engine, name: str) -> Entry:
    """Get the report with that token or id; UsageError when there is none."""
    with reading(db) as connection:
        row = connection.execute(_ENTRIES.where(or_(REPORTS.c.id == name, REPORTS.c.token == name))).first()
    sync_commits(db)
    if row is None:
        raise UsageError("There is no report of that token or name.")
    return _make_entry(row)


def cancel(db: Engine, name: str, now: datetime) -> Entry:
    """Cancel a report that waits or runs; UsageError when it has ended already."""
    found = get_entry(db, name)
    if not jobs.cancel(db, found.id, CANCELLED, now):
        raise UsageError(f"Report {found.id} has ended already: it is {get_entry(db, found.id).state}.")
    return get_entry(db, found.id)


def _make_entry(row: Row[*tuple[object, ...]]) -> Entry:
    state = report_state.find_state(row, None)
    is_waiting = row.number is not None and row.owner is None
    has_failed = state in {State.FAILED, State.CANCELLED}
    return Entry(
        id=row.id,
        organization=row.organization,
        key=row.key_id,
        state=state,
        place=row.place if is_waiting else None,
        due_at=row.not_before if is_waiting else None,
        attempts=row.attempts,
        failures=row.failures,
        deaths=row.deaths,
        losses=row.losses,
        suspect=bool(row.suspect),
        waited_for_room=(row.waited_for_room or 0) / 1000,
        reason=row.reason,
        failure=report_state.describe_failure(row.reason_code, row.partner_reason) if has_failed else None,
        created_at=row.created_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        query=ReportQuery.from_wire(json.loads(row.query)),
        channels=tuple(json.loads(row.channels)),
        versions=None if row.versions is None else json.loads(row.versions),
        worker=row.owner,
        file=row.file,
        rows=row.rows,
        bytes=row.bytes,
        sha256=row.sha256,
    )

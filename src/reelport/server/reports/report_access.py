"""Decides who may see a report, and what its partner is told of it now.

Every status query and every download finds its report here, by token or by link: one row has it all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, bindparam, select

from reelport.catalog import Scope
from reelport.errors import Problem, QueryRefused
from reelport.report_details import ReportDetails, Slots, State
from reelport.server import credentials
from reelport.server.access import callers
from reelport.server.access.callers import Caller
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import report_state
from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.server.state.tables import JOBS, REPORTS
from reelport.wire import PUBLIC_TOKEN_PATH, TOKEN_PATH, Code, ReportStatus, parse_complete_day

_COLUMNS = (
    *("id", "token", "status", "created_at", "expires_at", "traceparent", "reason_code", "partner_reason"),
    *("file", "rows", "bytes", "sha256", "last_complete_day", "organization_id", "query", "versions"),
)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class PartnerLoad:
    """How many reports of a partner are unfinished, and how many of those wait."""

    unfinished: int
    waiting: int

    def count_slots(self, settings: Settings) -> Slots:
        """Count the partner's slots: an ask is refused if as many are used as there are."""
        if settings.waiting_limit == 0:
            return Slots(self.unfinished, settings.running_limit)
        return Slots(self.waiting, settings.waiting_limit)


def select_reports(*more: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Select what `make_report` needs of reports and jobs, but the load; and more columns."""
    columns = (REPORTS.c[name] for name in _COLUMNS)
    told = JOBS.c.owner, JOBS.c.rows_written, JOBS.c.bytes_written, JOBS.c.ready_at
    return select(*columns, *told, report_state.PLACE, *more).outerjoin(JOBS, JOBS.c.report_id == REPORTS.c.id)


def _describe_report(row: Row[*tuple[Any, ...]], now: datetime) -> ReportDetails:
    state = report_state.find_state(row, now)
    is_running = state is State.RUNNING
    has_failed = state in {State.FAILED, State.CANCELLED}
    return ReportDetails(
        row.token,
        state,
        place=row.place if state is State.QUEUED else None,
        rows=row.rows_written if is_running else row.rows,
        bytes=row.bytes_written if is_running else row.bytes,
        sha256=row.sha256,
        # An estimate that is over says nothing; a new one comes with the next heartbeat. The wire writes whole seconds.
        ready_at=_round_up(row.ready_at) if row.ready_at is not None and row.ready_at > now else None,
        last_complete_day=parse_complete_day(row.last_complete_day),
        expires_at=row.expires_at,
        failure=report_state.describe_failure(row.reason_code, row.partner_reason) if has_failed else None,
    )


def _round_up(moment: datetime) -> datetime:
    return moment + (_SECOND - timedelta(microseconds=moment.microsecond or 1_000_000))


_LOAD = (
    report_state.OF_PARTNER.scalar_subquery().label("unfinished"),
    report_state.WAITING.scalar_subquery().label("waiting"),
)
_REPORTS = select_reports(REPORTS.c.channels, REPORTS.c.scopes, *_LOAD)
_BY_TOKEN = _REPORTS.where(REPORTS.c.token == bindparam("name"))
_BY_ID = _REPORTS.where(REPORTS.c.id == bindparam("name"))


@dataclass(frozen=True, slots=True)
class FoundReport:
    """A report as it is now. `file` is set when it is FINISHED, `query` is JSON.

    `last_complete_day` is that of the facts that the report is made of; None when it isn't known. `versions` is JSON
    too: those of the tables. `traceparent` is the span of its ask, if traces were recorded. `details` are what `/v1/`
    and `extensions` tell; `load` is its partner's. What changes while a report is made is not compared.
    """

    id: str
    token: str
    organization_id: int
    status: ReportStatus
    created_at: datetime
    expires_at: datetime
    file: FileRecord | None = field(compare=False)
    query: str
    last_complete_day: date | None = field(compare=False)
    traceparent: str | None
    versions: str | None = field(compare=False)
    details: ReportDetails = field(compare=False)
    load: PartnerLoad = field(compare=False)


def find_report(db: Engine, caller: Caller, token: str, now: datetime) -> FoundReport | None:
    """Find a caller's report by token, or None; QueryRefused if its scopes read none."""
    if not _may_read_reports(caller):
        raise QueryRefused((make_scope_problem(Scope.READ_REPORTS, ("reportToken",), caller.scopes),))
    if not credentials.is_well_formed(credentials.REPORT_TOKEN, token):
        return None
    with reading(db) as connection:
        return _find_visible(connection, caller, _BY_TOKEN, token, now)


def find_linked_report(db: Engine, report_id: str, key_id: str, now: datetime) -> FoundReport | None:
    """Find the report of a key's link, at every download; None if it may not see it any more."""
    with reading(db) as connection:
        holder = callers.find_holder(connection, key_id, now)
        return None if holder is None else _find_visible(connection, holder, _BY_ID, report_id, now)


def make_scope_problem(scope: Scope, path: tuple[str, ...], held: frozenset[str]) -> Problem:
    """Make the problem of a scope that the token lacks; `path` is the argument that needs it."""
    sentence = f"This needs the scope {scope}, which the token lacks."
    if not held:
        # No other grant gives such a token.
        sentence += (
            f" It was granted at {PUBLIC_TOKEN_PATH} for a key alone, and so holds no scope. A private key gets its "
            f"tokens at {TOKEN_PATH}; a public key at {PUBLIC_TOKEN_PATH}, with a user's password."
        )
    return Problem(Code.SCOPE_MISSING, path, sentence, scope.value)


def _find_visible(
    connection: Connection, caller: Caller, query: Select[*tuple[Any, ...]], name: str, now: datetime
) -> FoundReport | None:
    row = connection.execute(query, {"name": name}).first()
    may_see = row is not None and (
        _may_read_reports(caller)
        and row.organization_id == caller.organization_id
        and caller.scopes >= set(row.scopes.split())
        and caller.channels >= set(json.loads(row.channels))
    )
    if row is None or not may_see:
        return None
    return make_report(row, now)


def make_report(row: Row[*tuple[Any, ...]], now: datetime) -> FoundReport:
    """Make the report of a row of `select_reports` that has its partner's load, too."""
    status = report_state.find_status(row, now)
    file = FileRecord(row.file, row.rows, row.bytes, row.sha256) if status is ReportStatus.FINISHED else None
    told = _describe_report(row, now)
    return FoundReport(
        row.id,
        row.token,
        row.organization_id,
        status,
        row.created_at,
        row.expires_at,
        file,
        row.query,
        told.last_complete_day,
        row.traceparent,
        row.versions,
        told,
        PartnerLoad(row.unfinished, row.waiting),
    )


def _may_read_reports(caller: Caller) -> bool:
    return not caller.scopes.isdisjoint({Scope.CREATE_REPORTS, Scope.READ_REPORTS})

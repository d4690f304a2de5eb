"""What a partner is told of a report and of its slots, read with the report in one row."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select

from reelport.report_details import EXTENSION, ReportDetails, Slots, State
from reelport.server.queue import report_state
from reelport.server.settings import Settings
from reelport.server.state.tables import JOBS, REPORTS
from reelport.wire import parse_complete_day

_SECOND = timedelta(seconds=1)
_OTHERS = JOBS.alias("others")
_OF_PARTNER = select(func.count()).select_from(_OTHERS).where(_OTHERS.c.organization_id == REPORTS.c.organization_id)
_WAITING = _OF_PARTNER.where(_OTHERS.c.owner.is_(None))
_PLACE = _WAITING.where(_OTHERS.c.number <= JOBS.c.number)


_COLUMNS = (
    *("id", "token", "status", "created_at", "expires_at", "traceparent", "reason_code", "partner_reason"),
    *("file", "rows", "bytes", "sha256", "last_complete_day"),
)


@dataclass(slots=True)
class Extension:
    """What an answer of GraphQL tells of its reports beyond the schema, each once."""

    reports: dict[str, ReportDetails] = field(default_factory=dict)
    slots: Slots | None = None

    def tell(self, details: ReportDetails, slots: Slots) -> None:
        """Tell of a report, and of its partner's slots, in place of what was told of them before."""
        self.reports[details.id] = details
        self.slots = slots

    def to_json(self) -> dict[str, Any] | None:
        """Write `extensions`; None if no report was told and no ask refused for want of a slot."""
        if self.slots is None:
            return None
        told = [details.to_json() for details in self.reports.values()]
        return {EXTENSION: {"reports": told, "slots": self.slots.to_json()}}


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


def select_details(*more: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Select what `describe_report` needs of reports, with their jobs, and more columns."""
    columns = (REPORTS.c[name] for name in _COLUMNS)
    told = JOBS.c.owner, JOBS.c.rows_written, JOBS.c.bytes_written, JOBS.c.ready_at
    place = _PLACE.scalar_subquery().label("place")
    return select(*columns, *told, place, *more).outerjoin(JOBS, JOBS.c.report_id == REPORTS.c.id)


def select_with_load(*more: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Select the same with the load of their partner: `unfinished` and `waiting`."""
    counts = _OF_PARTNER.scalar_subquery().label("unfinished"), _WAITING.scalar_subquery().label("waiting")
    return select_details(*more, *counts)


def describe_report(row: Row[*tuple[Any, ...]], now: datetime) -> ReportDetails:
    """Describe a report's row of `select_details` to its partner."""
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

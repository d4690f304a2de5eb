"""The states of reports, and why reports fail or wait.

A reason is stored with a code. The stored text is the operator's: it may tell paths, addresses and settings of the
platform. A partner reads the sentence of the code's `FailureReason`, or a text that was stored for it
(`partner_reason`).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, func, select

from reelport.errors import DiskFull, EngineUnavailable, OutOfMemory, QueryRefused, StoreUnavailable
from reelport.language import N_, _
from reelport.report_details import Failure, FailureReason, State
from reelport.server.state.tables import JOBS, REPORTS
from reelport.wire import ReportStatus


class ReasonCode(StrEnum):
    """The codes of reasons that are no error's; every other reason has the code of its error."""

    CANCELLED = "cancelled"
    TOO_LATE = "too_late"
    WORKER_DIED = "worker_died"
    WORKER_LOST = "worker_lost"
    WORKER_SILENT = "worker_silent"


_FAILURES: dict[str, FailureReason] = {
    ReasonCode.CANCELLED: FailureReason.CANCELLED,
    ReasonCode.TOO_LATE: FailureReason.TOO_LATE,
    ReasonCode.WORKER_DIED: FailureReason.TOO_LARGE,
    OutOfMemory.code: FailureReason.TOO_LARGE,
    QueryRefused.code: FailureReason.REFUSED,
    DiskFull.code: FailureReason.NO_ROOM,
    EngineUnavailable.code: FailureReason.UNAVAILABLE,
    StoreUnavailable.code: FailureReason.UNAVAILABLE,
}
"""The reason of each stored code; of any other it is NOT_MADE."""
_OF_THE_REQUEST = frozenset({FailureReason.CANCELLED, FailureReason.TOO_LATE, FailureReason.REFUSED})
"""Reasons whose stored text is the partner's too: it is about the request, and names nothing of the platform."""
_WAITS = {
    DiskFull.code: N_("the platform has no room for it now: it goes on by itself"),
    EngineUnavailable.code: N_("a part of the platform is away: it goes on by itself"),
    StoreUnavailable.code: N_("a part of the platform is away: it goes on by itself"),
    OutOfMemory.code: N_("it needs much memory: it is made again, alone"),
    ReasonCode.WORKER_DIED: N_("its process ended early: it is made again, alone"),
    ReasonCode.WORKER_LOST: N_("its process ended early, which is not its fault: it is made again"),
    ReasonCode.WORKER_SILENT: N_("its process gave no sign of life, which is not its fault: it is made again"),
}
_OTHERS = JOBS.alias("others")
OF_PARTNER = select(func.count()).select_from(_OTHERS).where(_OTHERS.c.organization_id == REPORTS.c.organization_id)
"""Within a query of reports: how many unfinished ones their partner has; WAITING, how many of those wait."""
WAITING = OF_PARTNER.where(_OTHERS.c.owner.is_(None))
PLACE = WAITING.where(_OTHERS.c.number <= JOBS.c.number).scalar_subquery().label("place")
"""The place of a waiting report among those of its partner, from 1, within a query of reports and jobs."""
_TRIED_AGAIN = N_("the platform could not make it yet: it tries again by itself")


def find_status(row: Row[*tuple[Any, ...]], now: datetime | None) -> ReportStatus:
    """Find the status of a report's row now: a sweep may store later that it expired.

    None for `now` gives the status as it is stored.
    """
    status = ReportStatus[row.status]
    is_over = now is not None and row.expires_at <= now and status is not ReportStatus.FAILED
    return ReportStatus.EXPIRED if is_over else status


def find_state(row: Row[*tuple[Any, ...]], now: datetime | None) -> State:
    """Find the state of a report's row, which has the `owner` of its job; as `find_status`."""
    match find_status(row, now):
        case ReportStatus.IN_PROGRESS:
            return State.QUEUED if row.owner is None else State.RUNNING
        case ReportStatus.FAILED:
            return State.CANCELLED if row.reason_code == ReasonCode.CANCELLED else State.FAILED
        case ReportStatus.FINISHED:
            return State.FINISHED
        case ReportStatus.EXPIRED:
            return State.EXPIRED


def find_failure_reason(code: str | None) -> FailureReason:
    """Find the reason that a stored code stands for; NOT_MADE for an unknown one."""
    return _FAILURES.get(code or "", FailureReason.NOT_MADE)


def choose_partner_reason(code: str, reason: str) -> str | None:
    """Return the text of a reason if its partner may read it, else None."""
    return reason if find_failure_reason(code) in _OF_THE_REQUEST else None


def describe_failure(code: str | None, partner_reason: str | None) -> Failure:
    """Describe to its partner why a report failed, and what to do."""
    reason = find_failure_reason(code)
    return Failure(reason.value, partner_reason or _(reason.sentence), _(reason.advice))


def describe_wait(code: str | None) -> str:
    """Say to its partner why a report waits after a failed attempt, as a clause."""
    return _(_WAITS.get(code or "", _TRIED_AGAIN))

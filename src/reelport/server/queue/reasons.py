"""Why reports fail or wait: the stored codes, and what a partner reads of each.

The stored text of a reason is the operator's: it may tell paths, addresses and settings of the platform. A partner
reads the sentence of the code's `FailureReason`, or a text that was stored for it (`partner_reason`).
"""

from __future__ import annotations

from enum import StrEnum

from reelport.errors import DiskFull, EngineUnavailable, OutOfMemory, QueryRefused, StoreUnavailable
from reelport.report_details import Failure, FailureReason


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
    DiskFull.code: "the platform has no room for it now: it goes on by itself",
    EngineUnavailable.code: "a part of the platform is away: it goes on by itself",
    StoreUnavailable.code: "a part of the platform is away: it goes on by itself",
    OutOfMemory.code: "it needs much memory: it is made again, alone",
    ReasonCode.WORKER_DIED: "its process ended early: it is made again, alone",
    ReasonCode.WORKER_LOST: "its process ended early, which is not its fault: it is made again",
    ReasonCode.WORKER_SILENT: "its process gave no sign of life, which is not its fault: it is made again",
}
_TRIED_AGAIN = "the platform could not make it yet: it tries again by itself"


def find_failure_reason(code: str | None) -> FailureReason:
    """Find the reason that a stored code stands for; NOT_MADE for an unknown one."""
    return _FAILURES.get(code or "", FailureReason.NOT_MADE)


def choose_partner_reason(code: str, reason: str) -> str | None:
    """Return the text of a reason if its partner may read it, else None."""
    return reason if find_failure_reason(code) in _OF_THE_REQUEST else None


def describe_failure(code: str | None, partner_reason: str | None) -> Failure:
    """Describe to its partner why a report failed, and what to do."""
    reason = find_failure_reason(code)
    return Failure(reason.value, partner_reason or reason.sentence, reason.advice)


def describe_wait(code: str | None) -> str:
    """Say to its partner why a report waits after a failed attempt, as a clause."""
    return _WAITS.get(code or "", _TRIED_AGAIN)

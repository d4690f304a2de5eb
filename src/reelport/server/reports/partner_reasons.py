"""Says to a partner why its report failed or waits, by the code of the reason.

The reason's own text is the operator's: it may tell paths, addresses and settings of the platform.
"""

from __future__ import annotations

from reelport.errors import DiskFull, EngineUnavailable, OutOfMemory, QueryRefused
from reelport.server.queue.jobs import ReasonCode

_OWN = frozenset({ReasonCode.CANCELLED, ReasonCode.TOO_LATE, QueryRefused.code})
"""Reasons that are about the partner's request: their text names nothing of the platform."""
_WAITS = {
    DiskFull.code: "the platform has no room for it now: it goes on by itself",
    EngineUnavailable.code: "a part of the platform is away: it goes on by itself",
    OutOfMemory.code: "it needs much memory: it is made again, alone",
    ReasonCode.WORKER_DIED: "its process ended early: it is made again, alone",
    ReasonCode.WORKER_LOST: "its process ended early, which is not its fault: it is made again",
    ReasonCode.WORKER_SILENT: "its process gave no sign of life, which is not its fault: it is made again",
}
_TRIED_AGAIN = "the platform could not make it yet: it tries again by itself"
_TOO_LARGE = "It is too large for the platform: ask for less (fewer days or dimensions)"
_FAILED = {
    DiskFull.code: "The platform had no room for it, for too long: ask again later",
    EngineUnavailable.code: "A part of the platform was away for too long: ask again later",
    OutOfMemory.code: _TOO_LARGE,
    ReasonCode.WORKER_DIED: _TOO_LARGE,
}
_NOT_MADE = "The platform could not make it, which is not your request's fault: ask again"


def explain_pause(code: str | None) -> str:
    """Say why a report waits after an attempt; `code` is None for reasons of older versions."""
    return _WAITS.get(code or "", _TRIED_AGAIN)


def explain_failure(code: str | None, text: str, report_id: str) -> str:
    """Say why a report failed, and what to do; a reason about the request in its own words."""
    if code in _OWN:
        return text
    return f"{_FAILED.get(code or '', _NOT_MADE)}, or tell the platform the report's id, {report_id}."

"""What a Reelport service tells of a report beyond the copied wire.

It stands in `extensions.reelport` of GraphQL's answers and under `/v1/`. Both ends read and write it here, so that
its keys and its closed lists of words have one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Self

from reelport.errors import ReportCancelled, ReportFailed, ReportTooLarge
from reelport.language import N_
from reelport.wire import format_complete_day, format_utc, parse_complete_day

EXTENSION = "reelport"
"""The key of GraphQL's top-level `extensions` under which `reports` and `slots` stand."""
REPORTS_PATH, LIMITS_PATH = "/v1/reports", "/v1/limits"


class State(StrEnum):
    """The state of a report.

    On the copied wire `queued` and `running` are IN_PROGRESS, and `cancelled` is FAILED.
    """

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether the report has ended."""
        return self not in {State.QUEUED, State.RUNNING}


class FailureReason(StrEnum):
    """Every reason for which a report fails. The list is closed.

    `sentence` says what happened, `advice` what to change or do next, and `error` is what the client raises.
    """

    sentence: str
    advice: str
    error: type[ReportFailed]

    CANCELLED = (
        "cancelled",
        N_("The report was cancelled."),
        N_("Ask for it again if you still need it."),
        ReportCancelled,
    )
    TOO_LARGE = (
        "too_large",
        N_("The report is too large for the platform."),
        N_("Ask for fewer days or dimensions."),
        ReportTooLarge,
    )
    TOO_LATE = (
        "too_late",
        N_("The report was not made in the time that one report may take."),
        N_("Ask for fewer days or dimensions."),
        ReportTooLarge,
    )
    REFUSED = (
        "refused",
        N_("The request can't be answered."),
        N_("Change the request as the message says."),
        ReportFailed,
    )
    NO_ROOM = (
        "no_room",
        N_("The platform had no room for the report, for too long."),
        N_("Ask again later."),
        ReportFailed,
    )
    UNAVAILABLE = (
        "unavailable",
        N_("A part of the platform was away for too long."),
        N_("Ask again later."),
        ReportFailed,
    )
    NOT_MADE = (
        "not_made",
        N_("The platform could not make the report. It isn't the request's fault."),
        N_("Ask again. If it fails again, tell the platform the report's id."),
        ReportFailed,
    )

    def __new__(cls, word: str, sentence: str, advice: str, error: type[ReportFailed]) -> Self:
        """Make a reason of its word, its sentence, its advice and its kind of error."""
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.sentence, reason.advice, reason.error = sentence, advice, error
        return reason


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a report failed: a code, a sentence, and what to change.

    The code is one of FailureReason, or a newer service's.
    """

    code: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class ReportDetails:
    """What is known of one report. `id` is its report token.

    `place` is among the waiting reports of its partner, from 1; only for a queued one. `rows` and `bytes` are those of
    the file, or those written so far; None when nothing is written. `ready_at` is an estimate, None when there is none.
    `last_complete_day` is of the facts that the report is made of. Times are aware, in UTC.
    """

    id: str
    state: State
    place: int | None = None
    rows: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    ready_at: datetime | None = None
    last_complete_day: date | None = None
    expires_at: datetime | None = None
    failure: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        """Write all keys of the wire; what isn't known is null."""
        failure, complete = self.failure, self.last_complete_day
        return {
            "id": self.id,
            "state": self.state.value,
            "place": self.place,
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "estimatedReadyAt": _format_moment(self.ready_at),
            "lastCompleteDay": None if complete is None else format_complete_day(complete),
            "expiresAt": _format_moment(self.expires_at),
            "failure": None
            if failure is None
            else {"code": failure.code, "message": failure.message, "advice": failure.advice},
        }

    @classmethod
    def from_json(cls, given: object) -> Self | None:
        """Read what `to_json` writes; None where id or state can't be read."""
        if not isinstance(given, Mapping) or not isinstance(given.get("id"), str):
            return None
        try:
            state = State(str(given.get("state")))
        except ValueError:
            return None
        return cls(
            given["id"],
            state,
            _parse_count(given.get("place")),
            _parse_count(given.get("rows")),
            _parse_count(given.get("bytes")),
            digest if isinstance(digest := given.get("sha256"), str) else None,
            _parse_moment(given.get("estimatedReadyAt")),
            parse_complete_day(given.get("lastCompleteDay")),
            _parse_moment(given.get("expiresAt")),
            _parse_failure(given.get("failure")),
        )


@dataclass(frozen=True, slots=True)
class Slots:
    """A partner's waiting reports, and how many may wait. At the limit the next ask is refused.

    If a service lets none wait: its unfinished reports, and how many may be unfinished.
    """

    used: int
    limit: int

    @property
    def left(self) -> int:
        """How many more it may ask for now."""
        return max(self.limit - self.used, 0)

    def to_json(self) -> dict[str, int]:
        """Write the keys of the wire."""
        return {"used": self.used, "limit": self.limit}

    @classmethod
    def from_json(cls, given: object) -> Self | None:
        """Read what `to_json` writes; None for anything else."""
        if not isinstance(given, Mapping):
            return None
        used, limit = _parse_count(given.get("used")), _parse_count(given.get("limit"))
        return None if used is None or limit is None else cls(used, limit)


def _format_moment(moment: datetime | None) -> str | None:
    return None if moment is None else format_utc(moment)


def _parse_moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _parse_count(number: object) -> int | None:
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None


def _parse_failure(given: object) -> Failure | None:
    if not isinstance(given, Mapping):
        return None
    texts = [given.get(name) for name in ("code", "message", "advice")]
    return (
        Failure(*(text for text in texts if isinstance(text, str))) if all(isinstance(t, str) for t in texts) else None
    )

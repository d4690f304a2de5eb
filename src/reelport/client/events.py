"""Events that a flow reports while it runs, for a progress bar or a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from reelport.errors import Problem
from reelport.report_details import ReportDetails


@dataclass(frozen=True, slots=True)
class Warned:
    """The query has a problem that its host may accept; the client sends it anyway."""

    problem: Problem

    def __str__(self) -> str:
        return f"{self.problem} It is sent all the same."


@dataclass(frozen=True, slots=True)
class Asked:
    """The service accepted the request; `token` finds the report again, from any machine.

    `details` are what a Reelport service tells of it beyond the wire. `again`: the service gave a report that the
    ledger knew, as a Reelport service does while nothing has changed.
    """

    token: str
    details: ReportDetails | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Reused:
    """An earlier report, requested `age` seconds ago, is reused. `token` finds it."""

    token: str
    age: float


@dataclass(frozen=True, slots=True)
class Queued:
    """The request for a report must wait, for this reason; the next try is in `seconds`."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Looked:
    """A status query: its status, seconds waited, seconds to the next query (None: the last).

    `details` are what a Reelport service tells of the report beyond the wire.
    """

    token: str
    status: str
    elapsed: float
    next_look: float | None
    details: ReportDetails | None = None


@dataclass(frozen=True, slots=True)
class Retrying:
    """A transient failure: the client retries after `seconds`."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class KeyExpires:
    """The API key expires soon: after `at` the service gives no token for it."""

    at: datetime

    def __str__(self) -> str:
        return f"The API key expires on {self.at:%Y-%m-%d at %H:%M} UTC: have its secret rotated, or use a new key."


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of the report on disk so far, and the total where known."""

    bytes: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Saved:
    """A report's whole file is on disk under its name: bytes, and rows below the header."""

    token: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class InWindow:
    """An event of one window of a longer range, from `start` to `end`, both included."""

    start: date
    end: date
    event: Event


@dataclass(frozen=True, slots=True)
class WindowDone:
    """A window's file is on disk, as are `done` of the range's `windows` now."""

    start: date
    end: date
    bytes: int
    done: int
    windows: int


@dataclass(frozen=True, slots=True)
class Bisected:
    """A window's report failed; the client asks for its halves, split at `middle`."""

    start: date
    end: date
    middle: date
    reason: str


@dataclass(frozen=True, slots=True)
class Merging:
    """All windows are on disk; the merge into one file begins."""

    windows: int


@dataclass(frozen=True, slots=True)
class Merged:
    """A range's windows are merged into one file: its bytes, and its rows below the header."""

    windows: int
    bytes: int
    rows: int


OfReport = Warned | Asked | Reused | Queued | Looked | Retrying | KeyExpires | Received | Saved
Event = OfReport | InWindow | WindowDone | Bisected | Merging | Merged
Progress = Callable[[Event], None]


def ignore_event(event: object) -> None:
    """Ignore an event."""
    del event

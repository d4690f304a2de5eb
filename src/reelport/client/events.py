"""What a flow tells while it goes on: one value for each thing that happens, for a progress bar or a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from reelport.errors import Problem


@dataclass(frozen=True, slots=True)
class Warned:
    """The query has a problem that its host may not mind; it is sent all the same."""

    problem: Problem

    def __str__(self) -> str:
        return f"{self.problem} It is sent all the same."


@dataclass(frozen=True, slots=True)
class Asked:
    """The service took the report; `token` finds it again, from anywhere."""

    token: str


@dataclass(frozen=True, slots=True)
class Reused:
    """A report that was asked for earlier, `age` seconds ago, serves: nothing is asked anew. `token` finds it."""

    token: str
    age: float


@dataclass(frozen=True, slots=True)
class Queued:
    """Nothing can be asked for yet, for this reason; it is tried again after `seconds`."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at the report: its status, seconds since the wait began, seconds until the next look (None: the last)."""

    token: str
    status: str
    elapsed: float
    next_look: float | None


@dataclass(frozen=True, slots=True)
class Retrying:
    """Something failed that may pass: it is tried again after `seconds`."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of the report that are on disk by now, and how many there will be when that is known."""

    bytes: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Saved:
    """A report's file is on disk under its name, whole: its bytes, and its rows below the header."""

    token: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class InWindow:
    """What happens to one window of a longer range, from `start` to `end`, both included."""

    start: date
    end: date
    event: Event


@dataclass(frozen=True, slots=True)
class WindowDone:
    """A window's file is here: with it `done` of the `windows` that the range is made of by now."""

    start: date
    end: date
    bytes: int
    done: int
    windows: int


@dataclass(frozen=True, slots=True)
class Bisected:
    """A window's report failed for this reason: its two halves, the later from `middle` on, are asked for instead."""

    start: date
    end: date
    middle: date
    reason: str


@dataclass(frozen=True, slots=True)
class FewerDays:
    """The service takes so many `days` in one report at most, as its refusal said; from now on none has more."""

    days: int
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.reason} So no report has more than {self.days} days from now on, as is remembered by address; "
            "--window-days, REELPORT_WINDOW_DAYS or with_options(windows=…) names another number."
        )


@dataclass(frozen=True, slots=True)
class Merging:
    """All windows are here, and are being merged into one file."""

    windows: int


@dataclass(frozen=True, slots=True)
class Merged:
    """The windows of a range are one file on disk, under its name: its bytes, and its rows below the header."""

    windows: int
    bytes: int
    rows: int


OfReport = Warned | Asked | Reused | Queued | Looked | Retrying | Received | Saved
Event = OfReport | InWindow | WindowDone | Bisected | FewerDays | Merging | Merged
Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Tell nobody."""
    del event

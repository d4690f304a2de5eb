"""Coverage of a copy: which days it has, which are verified, which windows are to be read.

`verified_days` says which days a loaded window verifies, and which of them stay so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from reelport.client.ranges.windows import Window, cut
from reelport.sync.destinations import open_destination, read_success
from reelport.sync.spec import Days, Spec, month_first, month_last
from reelport.sync.staging import count_rows
from reelport.sync.verified_days import State


@dataclass(frozen=True, slots=True)
class Coverage:
    """A copy's days: wanted; of these verified, moving (to be read again), missing.

    `outdated`: the copy was made by another query, so every day is read again. `last_success` is the end (UTC) of the
    last run that left nothing to read; runs of named days don't count.
    """

    spec: Spec
    wanted: Days
    verified: Days
    moving: Days
    missing: Days
    rows: int
    service: str
    outdated: bool
    last_success: datetime | None


def coverage_of(spec: Spec, today: date | None = None) -> Coverage:
    """Compute the coverage of a spec's copy. Sends nothing and changes nothing."""
    copies = open_destination(spec.place)
    state, days = copies.state(spec), wanted_days(spec, today or datetime.now(UTC).date())
    with copies.view(spec) as view:
        rows = 0 if view is None else count_rows(view.con, view.relation)
    serves = state.has_meaning_of(spec)
    verified = state.verified & days if serves else Days()
    moving = (state.present & days) - verified if serves else Days()
    outdated = bool(state.identity) and not serves
    missing, succeeded = days - verified - moving, read_success(spec) if state.present.spans else None
    return Coverage(spec, days, verified, moving, missing, rows, state.service, outdated, succeeded)


def wanted_days(spec: Spec, today: date) -> Days:
    """Return the days that the copy should hold."""
    return Days.between(spec.start, spec.end(today))


def missing_days(spec: Spec, state: State, service: str, today: date) -> Days:
    """Return the days to read: absent, unverified, or of another query or service."""
    days = wanted_days(spec, today)
    if not state.is_current(spec, service):
        return days
    days -= state.verified
    if not spec.monthly:
        return days
    # Months are replaced whole: one whose last days are new is read from its first day.
    return _whole_months(days) & wanted_days(spec, today)


def days_in_range(spec: Spec, today: date, start: date | None, end: date | None) -> Days:
    """Return the days to hold from `start` to `end`, whole months if monthly; None is open."""
    named, all_days = Days.between(start or date.min, end or date.max), wanted_days(spec, today)
    return _whole_months(named & all_days) & all_days if spec.monthly else named & all_days


def cut_windows(spec: Spec, days: Days) -> tuple[Window, ...]:
    """Cut days into windows for one report each, oldest first; always the same way."""
    spans = (Window(first, last) for first, last in days.spans)
    return tuple(window for span in spans for window in cut(span, spec.window, months=spec.monthly))


def _whole_months(days: Days) -> Days:
    return Days.of((month_first(first), month_last(last)) for first, last in days.spans)

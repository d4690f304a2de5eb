"""Plan which windows to read, from the days wanted and the days of the copy."""

from __future__ import annotations

from datetime import date

from reelport.client.ranges.windows import Window, cut
from reelport.sync.copy_state import State
from reelport.sync.days import Days, month_first, month_last
from reelport.sync.spec import Spec


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
    """Return the days that the copy should hold between; an end None is open.

    A monthly spec gets whole months.
    """
    named, all_days = Days.between(start or date.min, end or date.max), wanted_days(spec, today)
    return _whole_months(named & all_days) & all_days if spec.monthly else named & all_days


def cut_windows(spec: Spec, days: Days) -> tuple[Window, ...]:
    """Cut days into windows for one report each, oldest first; always the same way."""
    spans = (Window(first, last) for first, last in days.spans)
    return tuple(window for span in spans for window in cut(span, spec.window, months=spec.monthly))


def _whole_months(days: Days) -> Days:
    return Days.of((month_first(first), month_last(last)) for first, last in days.spans)

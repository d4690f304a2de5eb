"""Which windows are still to be read, from what a spec wants and what its copy has."""

from __future__ import annotations

from datetime import date

from reelport.client.ranges.windows import Window, cut
from reelport.sync.copy_state import State
from reelport.sync.days import Days, month_first, month_last
from reelport.sync.spec import Spec


def wanted(spec: Spec, today: date) -> Days:
    """The days that the copy should hold."""
    return Days.between(spec.start, spec.end(today))


def lacking(spec: Spec, state: State, service: str, today: date) -> Days:
    """The days that are to be read: not there, there but still moving when they were read, or of another meaning."""
    days = wanted(spec, today)
    if not state.fits(spec, service):
        return days
    days -= state.verified
    if not spec.monthly:
        return days
    # What is replaced is whole months: one whose last days are new is read from its first.
    return _whole_months(days) & wanted(spec, today)


def chosen(spec: Spec, today: date, start: date | None, end: date | None) -> Days:
    """The days of a range that the copy should hold: from its start, or up to its end, where none is named.

    Of months, whole ones.
    """
    named, all_days = Days.between(start or date.min, end or date.max), wanted(spec, today)
    return _whole_months(named & all_days) & all_days if spec.monthly else named & all_days


def windows(spec: Spec, days: Days) -> tuple[Window, ...]:
    """The days as windows of reports, oldest first. The same days give the same windows."""
    spans = (Window(first, last) for first, last in days.spans)
    return tuple(window for span in spans for window in cut(span, spec.window, months=spec.monthly))


def _whole_months(days: Days) -> Days:
    return Days.of((month_first(first), month_last(last)) for first, last in days.spans)

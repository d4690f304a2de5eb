"""Which windows are still to be read, from what a spec wants and what its copy has."""

from __future__ import annotations

from datetime import date

from reelport.client.ranges.windows import Window, cut
from reelport.sync.days import Days, month_first, month_last
from reelport.sync.spec import Spec
from reelport.sync.state import State


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
    return Days.of((month_first(first), month_last(last)) for first, last in days.spans) & wanted(spec, today)


def windows(spec: Spec, days: Days) -> tuple[Window, ...]:
    """The days as windows of reports, oldest first. The same days give the same windows."""
    spans = (Window(first, last) for first, last in days.spans)
    return tuple(window for span in spans for window in cut(span, spec.window, months=spec.monthly))

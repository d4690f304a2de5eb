"""Ranges of days by name, such as the last 7 days, resolved when their link is followed."""

from __future__ import annotations

from datetime import date, timedelta
from enum import Enum, unique


@unique
class Preset(Enum):
    """A range by name, up to the last complete day of the tables that a view reads.

    Its value is the word in a URL; `label` names it on the page. `days` is its length, None for a calendar month.
    """

    LAST_7_DAYS = "last-7-days", "Last 7 days", 7
    LAST_28_DAYS = "last-28-days", "Last 28 days", 28
    LAST_90_DAYS = "last-90-days", "Last 90 days", 90
    THIS_MONTH = "this-month", "This month", None
    LAST_MONTH = "last-month", "Last month", None

    def __init__(self, word: str, label: str, days: int | None) -> None:
        self.word = word
        self.label = label
        self.days = days

    def resolve(self, complete: date) -> tuple[date, date]:
        """Find the first and last day, given the last complete day.

        This month is that of the last complete day, up to it; last month is the whole month before.
        """
        if self.days is not None:
            return complete - timedelta(self.days - 1), complete
        first = complete.replace(day=1)
        if self is Preset.THIS_MONTH:
            return first, complete
        last = first - timedelta(1)
        return last.replace(day=1), last


DEFAULT = Preset.LAST_28_DAYS
"""The range of a view that names no days."""

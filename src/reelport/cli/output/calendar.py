"""Draw a copy's coverage as a calendar: a line a month, a block a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from rich.text import Text

from reelport.sync.coverage import Coverage
from reelport.sync.days import month_first, month_last

_BLOCKS = {"verified": ("█", "#", "green"), "moving": ("▒", "+", "yellow"), "missing": ("·", ".", "red")}
_OUTSIDE = " "


def draw_calendar(standing: Coverage, *, fancy: bool) -> Text:
    """Draw the wanted days by month and state; `fancy` where the terminal has Unicode blocks."""
    drawn = Text()
    for number, month in enumerate(_list_months(standing)):
        drawn.append("\n" if number else "").append(f"  {month:%Y-%m}  ", style="dim")
        for day in _list_days(month):
            word = _state_of_day(standing, day)
            if word is None:
                drawn.append(_OUTSIDE)
                continue
            block, plain, style = _BLOCKS[word]
            drawn.append(block if fancy else plain, style=style)
    return drawn


def draw_legend(*, fancy: bool) -> Text:
    """Draw the meaning of the blocks."""
    meanings = {
        "verified": "read for good",
        "moving": "there, read again while it moves or may be incomplete",
        "missing": "to be read",
    }
    drawn = Text()
    for word, meaning in meanings.items():
        block, plain, style = _BLOCKS[word]
        drawn.append("   " if drawn else "").append(block if fancy else plain, style=style).append(f" {meaning}")
    return drawn


def _state_of_day(standing: Coverage, day: date) -> str | None:
    if day not in standing.wanted:
        return None
    if day in standing.verified:
        return "verified"
    return "moving" if day in standing.moving else "missing"


def _list_months(standing: Coverage) -> Iterator[date]:
    spans = standing.wanted.spans
    month, last = (month_first(spans[0][0]), spans[-1][1]) if spans else (date.max, date.min)
    while month <= last:
        yield month
        month = month_last(month) + timedelta(days=1)


def _list_days(month: date) -> Iterator[date]:
    for number in range(month_last(month).day):
        yield month + timedelta(days=number)

"""Days of copies drawn as a calendar: a line a month, a block a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from rich.text import Text

from reelport.sync.coverage import Coverage
from reelport.sync.days import month_first, month_last

_BLOCKS = {"verified": ("█", "#", "green"), "moving": ("▒", "+", "yellow"), "missing": ("·", ".", "red")}
_OUTSIDE = " "


def calendar(standing: Coverage, *, fancy: bool) -> Text:
    """The days that a copy should hold, by month. `fancy`: the terminal can show blocks."""
    drawn = Text()
    for number, month in enumerate(_months(standing)):
        drawn.append("\n" if number else "").append(f"  {month:%Y-%m}  ", style="dim")
        for day in _days(month):
            word = _word(standing, day)
            if word is None:
                drawn.append(_OUTSIDE)
                continue
            block, plain, style = _BLOCKS[word]
            drawn.append(block if fancy else plain, style=style)
    return drawn


def legend(*, fancy: bool) -> Text:
    """What the blocks mean."""
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


def _word(standing: Coverage, day: date) -> str | None:
    if day not in standing.wanted:
        return None
    if day in standing.verified:
        return "verified"
    return "moving" if day in standing.moving else "missing"


def _months(standing: Coverage) -> Iterator[date]:
    spans = standing.wanted.spans
    month, last = (month_first(spans[0][0]), spans[-1][1]) if spans else (date.max, date.min)
    while month <= last:
        yield month
        month = month_last(month) + timedelta(days=1)


def _days(month: date) -> Iterator[date]:
    for number in range(month_last(month).day):
        yield month + timedelta(days=number)

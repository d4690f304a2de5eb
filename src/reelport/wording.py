"""Formats counts, sizes, durations, days, lists and foreign texts for sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Format a number with its noun, such as `1 row` or `1,200 rows`.

    `plural` is for irregular nouns.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def format_size(number: int) -> str:
    """Format a number of bytes, such as `1.2 MB`."""
    value = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 - a kilo
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def format_duration(seconds: float) -> str:
    """Format a duration, such as `4.2 s`, `12 min`, `3 h 5 min`."""
    if seconds < 120:  # noqa: PLR2004 - from two minutes on, seconds don't matter
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def format_list(names: Sequence[str]) -> str:
    """Format names for a sentence: `a`, `a and b`, `a, b and c`."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def format_days(start: date, end: date) -> str:
    """Format a range of days: `4 July 2026`, `1 to 4 July 2026`, `28 June to 4 July 2026`."""
    if start == end:
        return _format_day(end)
    if start.year != end.year:
        return f"{_format_day(start)} to {_format_day(end)}"
    if start.month != end.month:
        return f"{start.day} {_MONTHS[start.month - 1]} to {_format_day(end)}"
    return f"{start.day} to {_format_day(end)}"


def _format_day(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def clean_line(text: str) -> str:
    """Put a text on one line, with blanks for controls and changes of writing direction.

    Half a character, which a file's name may hold and no output can encode, becomes a blank too.
    """
    return _STEERING.sub(" ", text)


def is_name(text: str, longest: int) -> bool:
    """Whether a text is one line that can name something, without blanks around it.

    Any script's letters count, with the joiners and blanks that they are written with: `str.isprintable` refuses those.
    """
    return text == text.strip() and len(text) <= longest and _STEERING.search(text) is None

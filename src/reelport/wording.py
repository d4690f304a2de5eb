"""Formats counts, sizes, durations and lists for sentences."""

from __future__ import annotations

from collections.abc import Sequence


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

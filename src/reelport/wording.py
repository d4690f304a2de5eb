"""How numbers of things are written in sentences for people."""

from __future__ import annotations

from collections.abc import Sequence


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """The number with its noun, such as `1 row` or `1,200 rows`; `plural` is given where an s doesn't do."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def format_size(number: int) -> str:
    """A number of bytes for people, such as `1.2 MB`."""
    value = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 - a kilo
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def format_duration(seconds: float) -> str:
    """A time for people, such as `4.2 s`, `12 min`, `3 h 5 min`."""
    if seconds < 120:  # noqa: PLR2004 - two minutes are where seconds stop to matter
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def format_list(names: Sequence[str]) -> str:
    """Names in a sentence: `a`, `a and b`, `a, b and c`."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)

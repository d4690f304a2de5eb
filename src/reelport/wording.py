"""How numbers of things are written in sentences for people."""

from __future__ import annotations


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """The number with its noun, such as `1 row` or `1,200 rows`; `plural` is given where an s doesn't do."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"

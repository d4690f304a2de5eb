"""Days as spans: first and last day, both included."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

Span = tuple[date, date]
_DAY = timedelta(days=1)


def merge_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Merge spans that overlap or adjoin, in the order of their days."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + _DAY:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def intersect(span: Span, others: Iterable[Span]) -> tuple[Span, ...]:
    """Find what the other spans have of this one."""
    found = ((max(span[0], first), min(span[1], last)) for first, last in others)
    return tuple((first, last) for first, last in found if first <= last)


def is_within(day: date, spans: Iterable[Span]) -> bool:
    """Whether one of the spans has this day."""
    return any(first <= day <= last for first, last in spans)

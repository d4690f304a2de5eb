"""Sets of days, kept as intervals, with union, intersection and difference."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from reelport.client.ranges.windows import Window

_ONE = timedelta(days=1)

Span = tuple[date, date]
"""First and last day, both included."""


@dataclass(frozen=True, slots=True)
class Days:
    """A set of days. Its spans are sorted, and neither overlap nor touch."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Self:
        """Make a set from spans in any order; a span that ends before it starts is empty."""
        joined: list[Span] = []
        for first, last in sorted(span for span in spans if span[0] <= span[1]):
            if joined and first <= _after(joined[-1][1]):
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        return cls(tuple(joined))

    @classmethod
    def between(cls, first: date, last: date) -> Self:
        """Make a set of every day from the first to the last, both included."""
        return cls.of([(first, last)])

    @classmethod
    def of_window(cls, window: Window) -> Self:
        """Make the set of a window's days."""
        return cls.between(window.start, window.end)

    def __or__(self, other: Days) -> Days:
        return Days.of((*self.spans, *other.spans))

    def __and__(self, other: Days) -> Days:
        return Days.of((max(first, low), min(last, high)) for first, last in self.spans for low, high in other.spans)

    def __sub__(self, other: Days) -> Days:
        left = list(self.spans)
        for low, high in other.spans:
            left = [piece for span in left for piece in _without(span, low, high)]
        return Days.of(left)

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and any(first <= day <= last for first, last in self.spans)

    def __iter__(self) -> Iterator[date]:
        for first, last in self.spans:
            for step in range((last - first).days + 1):
                yield first + timedelta(days=step)

    def __len__(self) -> int:
        return sum((last - first).days + 1 for first, last in self.spans)

    def __str__(self) -> str:
        return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in self.spans) or "none"

    def to_json(self) -> list[list[str]]:
        """Give pairs of first and last day as ISO texts."""
        return [[first.isoformat(), last.isoformat()] for first, last in self.spans]

    @classmethod
    def from_json(cls, pairs: Iterable[Iterable[str]]) -> Self:
        """Read what `to_json` gave. Raises ValueError for anything else."""
        return cls.of((date.fromisoformat(first), date.fromisoformat(last)) for first, last in pairs)


NONE = Days()


def month_first(day: date) -> date:
    """Return the first day of the day's month."""
    return day.replace(day=1)


def month_last(day: date) -> date:
    """Return the last day of the day's month."""
    return day.replace(day=monthrange(day.year, day.month)[1])


def _after(day: date) -> date:
    return day if day == date.max else day + _ONE


def _without(span: Span, low: date, high: date) -> Iterator[Span]:
    first, last = span
    if high < first or low > last:
        yield span
        return
    if first < low:
        yield first, low - _ONE
    if high < last:
        yield high + _ONE, last

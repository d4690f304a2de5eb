"""Windows: runs of whole days (UTC, inclusive) that cover a range, without overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

LONGEST_MONTH = 31


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Days from `start` to `end`, both included; it prints as `2024-01-01..2024-06-28`."""

    start: date
    end: date

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.end - self.start).days + 1

    def __str__(self) -> str:
        return f"{self.start}..{self.end}"

    def __contains__(self, other: Window) -> bool:
        return self.start <= other.start and other.end <= self.end


def cut(whole: Window, longest: int, *, months: bool = False) -> tuple[Window, ...]:
    """Cut a range into windows of `longest` days at most, oldest first, each full.

    With `months` no window ends inside a month, except at the range's own ends; `longest` must then be at least 31.
    """
    found: list[Window] = []
    start = whole.start.toordinal()
    while start <= whole.end.toordinal():
        end = min(start + longest - 1, whole.end.toordinal())
        if months and end < whole.end.toordinal():
            end = _find_month_end(end)
        found.append(Window(date.fromordinal(start), date.fromordinal(end)))
        start = end + 1
    return tuple(found)


def halve(window: Window, *, months: bool = False) -> tuple[Window, ...]:
    """Cut a window near its middle, with `months` between two; none where it can't be cut."""
    middles: Iterable[int] = range(window.start.toordinal(), window.end.toordinal())
    if months:
        middles = [day for day in middles if date.fromordinal(day + 1).day == 1]
    middle = (window.start.toordinal() + window.end.toordinal() - 1) / 2
    nearest = min(middles, key=lambda day: abs(day - middle), default=None)
    if nearest is None:
        return ()
    return Window(window.start, date.fromordinal(nearest)), Window(date.fromordinal(nearest + 1), window.end)


def split_by_existing(window: Window, existing: Iterable[Window]) -> Iterator[Window]:
    """Yield a window's existing pieces and gaps between; skips pieces that overlap others."""
    start = window.start.toordinal()
    for piece in sorted(existing, key=lambda each: (each.start, -each.days)):
        if piece in window and piece.start.toordinal() >= start:
            if piece.start.toordinal() > start:
                yield Window(date.fromordinal(start), date.fromordinal(piece.start.toordinal() - 1))
            yield piece
            start = piece.end.toordinal() + 1
    if start <= window.end.toordinal():
        yield Window(date.fromordinal(start), window.end)


def _find_month_end(day: int) -> int:
    """Return the last end of a month that is not after the day."""
    if date.fromordinal(day + 1).day == 1:
        return day
    return day - date.fromordinal(day).day

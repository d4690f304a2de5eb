"""Windows: whole days (UTC, inclusive) that cover a range; which failed ones are halved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from reelport.client.events import Bisected, Progress
from reelport.errors import (
    AccessError,
    AskLost,
    InternalError,
    QueryRefused,
    QueueFull,
    ReelportError,
    ReportCancelled,
    ReportFailed,
    RequestError,
    SlotsFull,
    Unreachable,
)
from reelport.report_details import FailureReason
from reelport.wire import Code

LONGEST_MONTH = 31
# Reasons for which a report of any size fails now.
_OF_ANY_SIZE = frozenset({FailureReason.REFUSED, FailureReason.NO_ROOM, FailureReason.UNAVAILABLE})
# Most failed reports before the windows that are left aren't halved any more; two bad days cause about as many.
_FAILURES = 16


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


class Bisection:
    """A range's windows, in turn; one that can't be fetched is halved, down to a day.

    With `months` no month is cut. `count` is how many there are by now, those already read included.
    """

    def __init__(self, windows: Iterable[Window], *, months: bool) -> None:
        self._months = months
        self._left = list(windows)[::-1]
        self._failures = 0
        self.count = len(self._left)

    def __iter__(self) -> Iterator[Window]:
        while self._left:
            yield self._left.pop()

    def split(self, window: Window, error: ReelportError, tell: Progress) -> bool:
        """Put back a failed window's halves if they may succeed; return whether they were."""
        if not _can_be_split(error):
            return False
        has_failed = isinstance(error, ReportFailed)  # a refusal costs no report
        self._failures += has_failed
        halves = () if has_failed and self._failures > _FAILURES else halve(window, months=self._months)
        if not halves:
            return False
        tell(Bisected(window.start, window.end, halves[1].start, str(error)))
        self._left += reversed(halves)
        self.count += 1
        return True


def _can_be_split(error: ReelportError) -> bool:
    """Whether shorter windows may succeed: the report failed, or the service takes fewer days.

    That helps a report that is too large, and where the reason is unknown, which may be a single day's.
    """
    match error:
        case ReportFailed(reason=reason):
            return not isinstance(error, ReportCancelled) and reason not in _OF_ANY_SIZE
        case QueryRefused(problems=problems):
            return {problem.code for problem in problems if problem.fatal} == {Code.RANGE_TOO_LONG}
        case _:
            return False


def is_hopeless(error: ReelportError) -> bool:
    """Whether the other windows would fail in the same way."""
    match error:
        case SlotsFull():
            return True  # This window waited until the deadline, and so would each of the others.
        case QueueFull() | AskLost():
            return False
        case RequestError() | AccessError() | InternalError() | Unreachable():
            return not _can_be_split(error)
        case ReportFailed(reason=reason):
            return reason in _OF_ANY_SIZE
        case _:
            return False

"""Bisection: halve a window whose report fails, cut a too long one to what is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reelport.client.events import Bisected, Progress
from reelport.client.ranges.windows import Window, halve, recut
from reelport.client.session import Session
from reelport.errors import (
    AccessError,
    AskLost,
    InternalError,
    QueryRefused,
    QueueFull,
    ReelportError,
    ReportFailed,
    RequestError,
    SlotsFull,
    Unreachable,
)
from reelport.wire import Code

_FAILURES = 16
"""Most failed reports before the windows that are left aren't halved any more; two bad days cause about as many."""


class Bisection:
    """A range's windows, to read in turn. One that can't be had is cut, down to a day.

    With `months` no month is cut. `count` is how many windows there are by now, those already read included.
    """

    def __init__(self, session: Session, windows: Iterable[Window], *, months: bool) -> None:
        self._session = session
        self._months = months
        self._left = list(windows)[::-1]
        self._failures = 0
        self.count = len(self._left)

    def __iter__(self) -> Iterator[Window]:
        """Yield the windows, oldest first, none longer than the service takes by now."""
        while self._left:
            window = self._left.pop()
            pieces = self._fit(window)
            if len(pieces) == 1:
                yield window
            else:
                self._put_back(pieces)

    def refit(self, window: Window, error: ReelportError) -> bool:
        """Put a refused window back in pieces, where the service now takes fewer days."""
        pieces = self._fit(window) if isinstance(error, QueryRefused) else (window,)
        if len(pieces) == 1:
            return False
        self._put_back(pieces)
        return True

    def split(self, window: Window, error: ReelportError, tell: Progress) -> bool:
        """Put back pieces of a failed window that may succeed, and return whether there are any."""
        if self.refit(window, error):
            return True
        if not _can_be_split(error):
            return False
        self._failures += 1
        halves = halve(window, months=self._months) if self._failures <= _FAILURES else ()
        if not halves:
            return False
        tell(Bisected(window.start, window.end, halves[1].start, str(error)))
        self._put_back(halves)
        return True

    def _fit(self, window: Window) -> tuple[Window, ...]:
        return recut(window, self._session.windows, months=self._months)

    def _put_back(self, pieces: tuple[Window, ...]) -> None:
        self._left += reversed(pieces)
        self.count += len(pieces) - 1


def _can_be_split(error: ReelportError) -> bool:
    """Whether shorter windows may succeed: the report failed, or the service takes fewer days."""
    match error:
        case ReportFailed():
            return True
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
        case _:
            return False

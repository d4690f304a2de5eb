"""What the error of one window says of the others: whether its halves may be had, whether anything can."""

from __future__ import annotations

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

FAILURES = 16
"""Reports of one window that may fail before what is left of it is given up: two bad days come to about as many."""


def is_too_much(error: ReelportError) -> bool:
    """Whether halves may be had where the whole can't: its report failed, or the service takes fewer days."""
    match error:
        case ReportFailed():
            return True
        case QueryRefused(problems=problems):
            return {problem.code for problem in problems if problem.fatal} == {Code.RANGE_TOO_LONG}
        case _:
            return False


def is_hopeless(error: ReelportError) -> bool:
    """Whether the other windows would come to the same."""
    match error:
        case SlotsFull():
            return True  # One waited for as long as any may, and each of the others would.
        case QueueFull() | AskLost():
            return False
        case RequestError() | AccessError() | InternalError() | Unreachable():
            return not is_too_much(error)
        case _:
            return False

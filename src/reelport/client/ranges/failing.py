"""Judge the error of one window: whether a shorter window may succeed, and whether the other windows can."""

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
"""Most failed reports of one window before the rest of it is given up; two bad days cause about as many."""


def can_be_split(error: ReelportError) -> bool:
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
            return not can_be_split(error)
        case _:
            return False

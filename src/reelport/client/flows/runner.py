"""What the methods of a client lean on: something that drives a flow, and who is told when nobody was named."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Awaitable
from datetime import timedelta
from typing import Protocol

from reelport.client.events import Event, Warned
from reelport.client.steps import Flow, T
from reelport.errors import UsageError

_OURS = __name__.partition(".")[0]


class Runner(Protocol):
    """What takes a flow's steps and waits for each."""

    def __call__(self, flow: Flow[T], /) -> T:
        """The flow's result."""


class AsyncRunner(Protocol):
    """What takes a flow's steps on the event loop."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]:
        """The flow's result, in time."""


def aloud(event: Event) -> None:
    """Tell only of what a caller should not miss: a query's warnings, as Python warnings."""
    if isinstance(event, Warned):
        warnings.warn(str(event), UserWarning, stacklevel=_outside())


def _outside() -> int:
    """How far up the stack our caller's own code is: a warning points there, and not into us."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == _OURS:
        frame, level = frame.f_back, level + 1
    return level


def seconds(time: float | timedelta) -> float:
    """A deadline in seconds. Raises UsageError when it is none, or over before anything could be done."""
    given: object = time
    try:
        number = time.total_seconds() if isinstance(time, timedelta) else float(time)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(given, bool | str | bytes) or not number > 0:
        raise UsageError(f"A deadline is a number of seconds above 0, and not {str(time)[:80]!r}.")
    return number

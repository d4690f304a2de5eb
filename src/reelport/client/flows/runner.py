"""What every client method needs: its flow's runner, default listener, deadlines."""

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

DEADLINE = 2.5 * 3600  # longest wait in seconds: the two hours that the original service may need, and some room


class Runner(Protocol):
    """Runs a flow's steps, blocking."""

    def __call__(self, flow: Flow[T], /) -> T:
        """Run the flow and return its result."""


class AsyncRunner(Protocol):
    """Runs a flow's steps on the event loop."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]:
        """Run the flow and give its result when awaited."""


def warn(event: Event) -> None:
    """The default listener: a query's warnings become Python's; other events are ignored."""
    if isinstance(event, Warned):
        warnings.warn(str(event), UserWarning, stacklevel=_find_stack_level())


def _find_stack_level() -> int:
    """Count the stack frames up to our caller's own code, so that a warning points there."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == _OURS:
        frame, level = frame.f_back, level + 1
    return level


def to_seconds(time: float | timedelta) -> float:
    """Convert a deadline to seconds. Raises UsageError unless it is a number above 0."""
    given: object = time
    try:
        number = time.total_seconds() if isinstance(time, timedelta) else float(time)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(given, bool | str | bytes) or not number > 0:
        raise UsageError(f"A deadline is a number of seconds above 0, and not {str(time)[:80]!r}.")
    return number

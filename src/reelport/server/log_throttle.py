"""Keeps one cause from filling the disk with lines: the first of each minute are logged, the others counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from structlog.typing import EventDict

_MAX_LINES = 10
"""Lines of one cause in a window."""
_WINDOW_SECONDS = 60.0
_MAX_CAUSES = 1000
"""Causes that are known at a time; a cause is a sentence of ours, so that there are not many."""
_LEVELS = frozenset({"warning", "error", "critical"})


@dataclass(slots=True)
class _Window:
    began: float
    count: int = 0


class LogThrottle:
    """Which warnings and errors of this process are logged. It may be used from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[object, _Window] = {}
        self._lock = threading.Lock()

    def admit(self, cause: object) -> str | None:
        """A note for the next line of a cause, empty for most of them; None when the line is to be left out."""
        now = self._clock()
        with self._lock:
            window = self._windows.get(cause)
            if window is None or now >= window.began + _WINDOW_SECONDS:
                missed = max(window.count - _MAX_LINES, 0) if window else 0
                self._windows.pop(cause, None)
                self._drop_oldest()
                self._windows[cause] = _Window(now, 1)
                return f"{missed} such lines were left out before" if missed else ""
            window.count += 1
            if window.count == _MAX_LINES:
                return f"further such lines are left out for {_WINDOW_SECONDS:.0f} seconds"
            return None if window.count > _MAX_LINES else ""

    def process(self, _logger: object, method: str, event: EventDict) -> EventDict:
        """Drop a line of ours, or note what is left out; a processor of structlog."""
        if method not in _LEVELS:
            return event
        note = self.admit((event.get("event"), event.get("reason"), _name_error(event.get("exc_info"))))
        if note is None:
            raise structlog.DropEvent
        return {**event, "throttled": note} if note else event

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line of a library is logged; a filter of a handler."""
        if record.levelno < logging.WARNING:
            return True
        return self.admit((record.name, str(record.msg)[:200], _name_error(record.exc_info))) is not None

    def _drop_oldest(self) -> None:
        while len(self._windows) >= _MAX_CAUSES:
            del self._windows[next(iter(self._windows))]


def _name_error(raised: Any) -> str:  # noqa: ANN401 - whatever logging was given
    """The class of what was raised; two failures of one class at one place are one cause."""
    if raised is True:
        return "raised"
    error = raised[1] if isinstance(raised, tuple) else raised
    return type(error).__name__ if error else ""

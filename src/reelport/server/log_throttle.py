"""Limits repeated warnings and errors to ten lines a minute for each cause.

A later line says how many were left out.
"""

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
"""Lines of one cause that are logged in a window."""
_WINDOW_SECONDS = 60.0
_MAX_CAUSES = 1000
"""Most causes remembered at a time. There are few, because a cause is one of our own sentences."""
_LEVELS = frozenset({"warning", "error", "critical"})


@dataclass(slots=True)
class _Window:
    began: float
    count: int = 0


class LogThrottle:
    """Decides which warnings and errors of this process are logged. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[object, _Window] = {}
        self._lock = threading.Lock()

    def admit(self, cause: object) -> str | None:
        """Return None to leave out the next line of a cause, else a note for it (mostly empty)."""
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
        """Drop or annotate one of our own lines; a structlog processor."""
        if method not in _LEVELS:
            return event
        note = self.admit((event.get("event"), event.get("reason"), _name_error(event.get("exc_info"))))
        if note is None:
            raise structlog.DropEvent
        return {**event, "throttled": note} if note else event

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a line of a library; a filter of a `logging` handler."""
        if record.levelno < logging.WARNING:
            return True
        return self.admit((record.name, str(record.msg)[:200], _name_error(record.exc_info))) is not None

    def _drop_oldest(self) -> None:
        while len(self._windows) >= _MAX_CAUSES:
            del self._windows[next(iter(self._windows))]


def _name_error(raised: Any) -> str:  # noqa: ANN401 - the type of `exc_info` varies
    """Name the class of an exception: two of one class at one place count as one cause."""
    if raised is True:
        return "raised"
    error = raised[1] if isinstance(raised, tuple) else raised
    return type(error).__name__ if error else ""

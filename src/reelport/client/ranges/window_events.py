"""Pass on a range's events: labelled by window, one at a time, warnings once."""

from __future__ import annotations

from collections.abc import Callable

from reelport.client.events import Event, FewerDays, InWindow, Progress, Warned
from reelport.client.ranges.windows import Window
from reelport.errors import Problem


class WindowEvents:
    """Passes events from several threads to one listener, one after another."""

    def __init__(self, tell: Progress) -> None:
        import threading  # noqa: PLC0415 - a client that asks for one report has no threads

        self._tell = tell
        self._lock = threading.RLock()
        self._warned: set[Problem] = set()

    def __call__(self, event: Event) -> None:
        """Pass on an event of the range as a whole."""
        with self._lock:
            if isinstance(event, Warned):
                if event.problem in self._warned:
                    return
                self._warned.add(event.problem)
            self._tell(event)

    def of(self, window: Window) -> Callable[[Event], None]:
        """Return a listener that passes on one window's events."""

        def tell(event: Event) -> None:
            self(event if isinstance(event, Warned | FewerDays) else InWindow(window.start, window.end, event))

        return tell

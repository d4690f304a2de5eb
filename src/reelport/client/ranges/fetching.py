"""Fetch a query's windows side by side; each can resume, or is halved where it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from reelport.client.events import Event, FewerDays, InWindow, Progress, Warned, WindowDone
from reelport.client.flows.download import Downloaded
from reelport.client.flows.fetch import fetch
from reelport.client.ranges.bisection import Bisection, is_hopeless
from reelport.client.ranges.folder import Folder, KeptFolder
from reelport.client.ranges.merge_rules import needs_whole_months
from reelport.client.ranges.windows import Window, split_by_existing
from reelport.client.session import Session
from reelport.client.steps import Flow, fork
from reelport.errors import Partial, Problem, ReelportError
from reelport.query import ReportQuery
from reelport.wording import format_count

_TOLD = 10
"""Most missing windows that an error lists; it only counts the others."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A window that can't be fetched now, and why."""

    window: Window
    error: ReelportError


class WindowFetcher:
    """Fetches a query's windows, and holds what they share."""

    def __init__(
        self,
        session: Session,
        query: ReportQuery,
        folder: Folder | KeptFolder,
        events: WindowEvents,
        deadline: float,
        *,
        fresh: bool,
    ) -> None:
        self._session = session
        self._query = query
        self._folder = folder
        self._events = events
        self._deadline = deadline
        self._fresh = fresh
        self._bisections: list[Bisection] = []
        self._stop: ReelportError | None = None
        self._done = count(1)

    def fetch_all(self, windows: tuple[Window, ...]) -> Flow[list[Downloaded]]:
        """Fetch all windows, or the pieces they were cut into, in order.

        Raises Partial when some are missing, and the first error when all are.
        """
        existing = self._folder.list_files()
        months = needs_whole_months(self._query, self._session.windows)
        parts = [split_by_existing(window, existing) for window in windows]
        self._bisections = [Bisection(self._session, each, months=months) for each in parts]
        outcomes = yield from fork([self._fetch_windows(each) for each in self._bisections], self._session.slots)
        found: list[Downloaded | Missing] = []
        for window, outcome in zip(windows, outcomes, strict=True):
            found += [Missing(window, outcome)] if isinstance(outcome, ReelportError) else outcome
        missing = [each for each in found if isinstance(each, Missing)]
        if missing:
            raise _build_partial(found, missing)
        return [each for each in found if isinstance(each, Downloaded)]

    def _fetch_windows(self, windows: Bisection) -> Flow[list[Downloaded | Missing]]:
        """Fetch windows one after another, and what they are cut into."""
        found: list[Downloaded | Missing] = []
        for window in windows:
            if self._stop is not None:
                found.append(Missing(window, self._stop))
                continue
            try:
                done = yield from self._fetch_window(window)
            except ReelportError as error:
                if windows.split(window, error, self._events):
                    continue
                if is_hopeless(error):
                    self._stop = error
                found.append(Missing(window, error))
            else:
                count = sum(each.count for each in self._bisections)
                self._events(WindowDone(window.start, window.end, done.bytes, next(self._done), count))
                found.append(done)
        return found

    def _fetch_window(self, window: Window) -> Flow[Downloaded]:
        return fetch(
            self._session,
            self._query.within(window.start, window.end),
            self._folder.file(window),
            self._events.of(window),
            deadline=self._deadline,
            fresh=self._fresh,
            part=isinstance(self._folder, Folder),  # A window that will be merged is only a part of the result.
            window=True,
        )


def _format_more(windows: int) -> str:
    return f" and {windows} more for the same reason" if windows else ""


def _build_partial(found: list[Downloaded | Missing], missing: list[Missing]) -> ReelportError:
    """Build the error for missing windows: Partial, or the first one's where all miss."""
    first = missing[0].error
    if len(missing) == len(found):
        return first
    same = Counter(id(each.error) for each in missing)
    firsts = {id(each.error): each for each in reversed(missing)}.values()
    lines = [f"{each.window}{_format_more(same[id(each.error)] - 1)}: {each.error}" for each in reversed(firsts)]
    if len(lines) > _TOLD:
        lines[_TOLD:] = [f"… and {len(lines) - _TOLD} more."]
    whole = format_count(len(found), "window")
    counts = f"Of {whole}, {len(found) - len(missing):,} are here and kept; {len(missing):,} can't be had now:"
    error = Partial("\n".join([counts, *lines, "Run the same again: it goes on with these alone."]), token=first.token)
    error.__cause__ = first
    return error


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

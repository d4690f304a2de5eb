"""Fetch the windows of one query side by side; each can resume, and is halved where its report fails."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from reelport.client.events import WindowDone
from reelport.client.files.part import translate_io_errors
from reelport.client.files.sidecar import read_sidecar
from reelport.client.flows.download import Downloaded
from reelport.client.flows.fetch import fetch
from reelport.client.ranges.bisection import Bisection, is_hopeless
from reelport.client.ranges.folder import Folder
from reelport.client.ranges.rules import needs_whole_months
from reelport.client.ranges.window_events import WindowEvents
from reelport.client.ranges.windows import Window, split_by_existing
from reelport.client.session import Session
from reelport.client.steps import Flow, fork
from reelport.errors import Partial, QueryRefused, ReelportError
from reelport.query import ReportQuery
from reelport.wording import format_count

_TOLD = 10
"""Most missing windows that an error lists; it only counts the others."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A window whose file is on disk."""

    window: Window
    done: Downloaded


@dataclass(frozen=True, slots=True)
class Missing:
    """A window that can't be fetched now, and why."""

    window: Window
    error: ReelportError


@dataclass(frozen=True, slots=True)
class KeptFolder:
    """The folder in which `keep_windows` leaves the windows of a query."""

    path: Path
    query: ReportQuery

    def file(self, window: Window, digest: str) -> Path:
        """Return the path of a window's file."""
        del digest  # The folder is one query's.
        return self.path / f"{window.start}_{window.end}.csv"

    def list_files(self, digest: str) -> tuple[Window, ...]:
        """List the windows of the query whose files exist, according to their sidecars."""
        del digest
        with translate_io_errors(self.path):
            said = [read_sidecar(path) or {} for path in sorted(self.path.glob("*_*.csv.json"))]
        return tuple(window for each in said if (window := self._parse_window(each.get("query"))))

    def _parse_window(self, wire: object) -> Window | None:
        try:
            found = ReportQuery.from_wire(wire) if isinstance(wire, dict) else None
        except (QueryRefused, KeyError, TypeError, AttributeError):
            return None  # Not a sidecar of ours.
        ours = found is not None and found.within(self.query.start, self.query.end) == self.query
        return Window(found.start, found.end) if found is not None and ours else None


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
        self._digest = _hash_query(session, query)
        self._bisections: list[Bisection] = []
        self._stop: ReelportError | None = None
        self._done = count(1)

    def fetch_all(self, windows: tuple[Window, ...]) -> Flow[list[Downloaded]]:
        """Fetch all windows, or the pieces they were cut into, in order.

        Raises Partial when some are missing, and the first error when all are.
        """
        existing = self._folder.list_files(self._digest)
        months = needs_whole_months(self._query, self._session.windows)
        parts = [split_by_existing(window, existing) for window in windows]
        self._bisections = [Bisection(self._session, each, months=months) for each in parts]
        outcomes = yield from fork([self._fetch_windows(each) for each in self._bisections], self._session.slots)
        found: list[Fetched | Missing] = []
        for window, outcome in zip(windows, outcomes, strict=True):
            found += [Missing(window, outcome)] if isinstance(outcome, ReelportError) else outcome
        missing = [each for each in found if isinstance(each, Missing)]
        if missing:
            raise _build_partial(found, missing)
        return [each.done for each in found if isinstance(each, Fetched)]

    def _fetch_windows(self, windows: Bisection) -> Flow[list[Fetched | Missing]]:
        """Fetch windows one after another, and what they are cut into."""
        found: list[Fetched | Missing] = []
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
                found.append(Fetched(window, done))
        return found

    def _fetch_window(self, window: Window) -> Flow[Downloaded]:
        return fetch(
            self._session,
            self._query.within(window.start, window.end),
            self._folder.file(window, self._digest),
            self._events.of(window),
            deadline=self._deadline,
            fresh=self._fresh,
            part=isinstance(self._folder, Folder),  # A window that will be merged is only a part of the result.
            window=True,
        )


def _format_more(windows: int) -> str:
    return f" and {windows} more for the same reason" if windows else ""


def _build_partial(found: list[Fetched | Missing], missing: list[Missing]) -> ReelportError:
    """Build the error for missing windows: Partial, or the first window's error where all are missing."""
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


def _hash_query(session: Session, query: ReportQuery) -> str:
    """Hash a key and a query without its days, to tell its windows' files from another's."""
    day = query.start.min
    text = f"{session.settings.identity}\n{query.within(day, day).canonical()}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Make a call's listener: the log, then the caller's `progress` or its default.

In a notebook the default is a progress bar.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from importlib import import_module
from typing import Any

from reelport.client.events import (
    Asked,
    Bisected,
    Event,
    FewerDays,
    InWindow,
    Looked,
    Merged,
    Merging,
    Progress,
    Queued,
    Received,
    Retrying,
    Reused,
    Saved,
    WindowDone,
)
from reelport.client.flows.runner import warn
from reelport.client.report_log import ReportLog, shorten
from reelport.client.session import Session
from reelport.wording import format_count, format_duration, format_size

_EVERY = 0.1
"""Seconds between two updates during a download."""

_LONGEST = 300


def make_listener(session: Session, progress: Progress | None = None) -> Progress:
    """Make a listener that passes events to the log and then to `progress`.

    Without `progress`, a query's warnings become Python warnings, and a notebook shows all events as a progress bar.
    """
    log: Progress = ReportLog(session)
    bar = None if progress else make_notebook_bar()
    heard = [each for each in (log, bar, progress or warn) if each is not None]

    def tell(event: Event) -> None:
        for each in heard:
            each(event)

    return tell


def make_notebook_bar() -> Progress | None:
    """Make a bar for the running cell; None outside of notebooks."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = find() if find else None
    return Bar(import_module("IPython.display")) if getattr(shell, "kernel", None) is not None else None


class Bar:
    """Shows a call's events as one line below its cell. `display` is IPython's module."""

    def __init__(self, display: Any, seconds: Callable[[], float] = time.monotonic) -> None:  # noqa: ANN401 - IPython may be absent
        self._display = display
        self._seconds = seconds
        self._handle: Any = None
        self._shown_at = 0.0
        self._windows: tuple[int, int] | None = None

    def __call__(self, event: Event) -> None:
        """Show an event; a download's bytes at most ten times a second."""
        if isinstance(event, InWindow):
            self._windows = self._windows or (0, 1)
            self._show_event(f"{event.start}..{event.end}: ", event.event)
        else:
            self._show_event("", event)

    def _show_event(self, window: str, event: Event) -> None:
        match event:
            case Asked(token):
                self._show(f"{window}asked for report {shorten(token)}")
            case Reused(token):
                self._show(f"{window}taking up report {shorten(token)}")
            case Queued(reason) | Retrying(reason):
                self._show(f"{window}{reason}")
            case Looked(_, status, elapsed):
                self._show(f"{window}{status} after {format_duration(elapsed)}")
            case Received(size, total) if self._seconds() - self._shown_at >= _EVERY or size == total:
                of = f" of {format_size(total)}" if total else ""
                self._show(f"{window}{format_size(size)}{of}", (size, total) if total else (0, 1))
            case Saved(_, size, rows):
                self._show(f"{window}{format_count(rows, 'row')}, {format_size(size)}", (1, 1))
            case _:
                self._show_range_event(event)

    def _show_range_event(self, event: Event) -> None:
        match event:
            case WindowDone(done=done, windows=windows):
                # Windows end in several threads: what the last but one says may come last.
                done = max(done, self._windows[0] if self._windows else 0)
                self._windows = (done, windows)
                self._show(f"{done} of {format_count(windows, 'window')}")
            case Bisected(start, end):
                self._show(f"{start}..{end}: asking for two halves")
            case FewerDays(days):
                self._show(f"no more than {format_count(days, 'day')} in one report from now on")
            case Merging(windows):
                self._show(f"merging {format_count(windows, 'window')}")
            case Merged(windows, size, rows):
                self._show(f"{format_count(windows, 'window')}: {format_count(rows, 'row')}, {format_size(size)}")

    def _show(self, text: str, share: tuple[int, int] = (0, 1)) -> None:
        """Show a line and a bar: the share of windows, where there are several, else of one file.

        An unknown share is an empty bar, because an animated one would go on after a failure.
        """
        there, whole = self._windows or share
        bar = f'<progress value="{there}" max="{whole}" style="width:20em"></progress>'
        text = text[:_LONGEST]
        data = {"text/html": f"<div>{bar} <bdi>{escape(text)}</bdi></div>", "text/plain": text}
        self._shown_at = self._seconds()
        if self._handle is None:
            self._handle = self._display.display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

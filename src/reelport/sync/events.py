"""Progress events of a sync run, beside those of its client for each report, and their log."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from reelport.client.events import Event, Progress, Warned
from reelport.client.listener import ReportLog, shorten
from reelport.client.ranges.windows import Window
from reelport.client.session import Session
from reelport.wording import format_count

_LOGGER = logging.getLogger("reelport.sync")


@dataclass(frozen=True, slots=True)
class Planned:
    """The windows of a spec that the run will read; none when its copy is up to date."""

    spec: str
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Began:
    """The run begins to read a window, the `number`-th of `of`."""

    spec: str
    window: Window
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class OfWindow:
    """An event of the client about a window's report."""

    spec: str
    window: Window
    event: Event


@dataclass(frozen=True, slots=True)
class Loaded:
    """A window is loaded into its copy: rows before, rows now, and notes on columns and values."""

    spec: str
    window: Window
    before: int
    rows: int
    token: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A window could not be read; its copy is unchanged. `stops`: the whole run ends."""

    spec: str
    window: Window
    reason: str
    stops: bool = False


SyncEvent = Planned | Began | OfWindow | Loaded | Failed
Tell = Callable[[SyncEvent], None]


def label_events(tell: Tell, spec: str, window: Window) -> Progress:
    """Return a window's listener, which passes events on with the window's name."""
    return lambda event: tell(OfWindow(spec, window, event))


def one_at_a_time(tell: Tell) -> Tell:
    """Wrap a listener so that it hears events of windows read side by side one after another."""
    lock = threading.Lock()

    def listener(event: SyncEvent) -> None:
        with lock:
            tell(event)

    return listener


def warn(event: SyncEvent) -> None:
    """Issue Python warnings for problems of queries and drifted columns; ignore other events."""
    match event:
        case OfWindow(spec, _, Warned(problem)):
            warnings.warn(f"{spec}: {problem}", UserWarning, stacklevel=2)
        case Loaded(spec=spec, notes=notes):
            for note in notes:
                warnings.warn(f"{spec}: {note}", UserWarning, stacklevel=2)


def describe_event(event: SyncEvent) -> list[str]:
    """Describe an event in lines, notes on a window last; an event of the client in none."""
    match event:
        case OfWindow():
            return []
        case Planned(spec, windows):
            todo = f"{format_count(len(windows), 'window')} to read" if windows else "up to date"
            return [f"{spec}: {todo}"]
        case Began(spec, window, number, of):
            return [f"{spec} {window}: reading window {number} of {of}"]
        case Loaded(spec, window, before, rows, token, notes):
            instead = f" in the place of {before:,}" if before else ""
            synced = f"synced, {format_count(rows, 'row')}{instead}, of report {shorten(token)}"
            return [f"{spec} {window}: {line}" for line in (synced, *notes)]
        case Failed(spec, window, reason):
            return [f"{spec} {window}: not synced: {reason.removeprefix(f'{spec}: ')}"]


def with_log(session: Session, tell: Tell) -> Tell:
    """Wrap `tell` so that each event is logged first."""
    log = ReportLog(session)

    def listener(event: SyncEvent) -> None:
        if isinstance(event, OfWindow):
            log.log_event(f"{event.spec} {event.window}", event.event)
        for number, line in enumerate(describe_event(event)):
            is_warning = number > 0 or isinstance(event, Failed)
            log.write(logging.WARNING if is_warning else logging.INFO, line, _LOGGER)
        tell(event)

    return listener
